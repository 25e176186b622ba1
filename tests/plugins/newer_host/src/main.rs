//! Loads a plugin that was built before this interface got its additions, and uses what it has.

use cvhost_plugin_api::abi::{AdapterBox, Host, PluginRef};
use cvhost_plugin_api::abi_stable::prefix_type::PrefixTypeTrait;
use cvhost_plugin_api::abi_stable::std_types::{RErr, RStr};
use cvhost_plugin_api::data::OpenArgs;
use cvhost_plugin_api::error::{AbiResult, PluginError};
use std::path::Path;

extern "C" fn log(_: u32, _: RStr<'_>, _: RStr<'_>) {}
extern "C" fn max_level() -> u32 {
    0
}
extern "C" fn cancelled() -> bool {
    false
}
extern "C" fn adapter(args: NewArgsRef<'_>) -> AbiResult<AdapterBox> {
    let name = args.name();
    RErr(PluginError::failed(format!(
        "this program has no adapter `{name}`"
    )))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(task)) = (arguments.next(), arguments.next()) else {
        panic!("usage: newer-host PLUGIN TASK");
    };
    let plugin: PluginRef = cvhost_plugin_api::load::load(Path::new(&file)).unwrap_or_else(|e| panic!("{e}"));
    plugin.init()(
        Host {
            log,
            max_level,
            cancelled,
            adapter,
        }
        .leak_into_prefix(),
    )
    .into_result()
    .unwrap();
    println!(
        "added constructor: {}",
        if plugin.added_later().is_none() {
            "absent"
        } else {
            "present"
        }
    );
    let task = plugin.task()(RStr::from_str(&task)).into_result().unwrap();
    println!("form: {}", task.form());
    println!("added method: {}", task.added_later());
    let args = OpenArgs {
        split: "val".into(),
        config: cvhost_plugin_api::serde_json::json!({}),
        ..OpenArgs::default()
    };
    let data_set = args.lend(|args| task.open(args)).into_result().unwrap();
    println!("records: {}", data_set.len());
    let record = data_set.record(0).into_result().unwrap();
    println!(
        "field: {}",
        if record.fields.get("side").is_some() {
            "side"
        } else {
            "none"
        }
    );
}
