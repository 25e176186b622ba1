//! The macro that exports a plugin, and what it expands to.

use super::shims;
use super::traits::{Adapter, Logger, Task};
use crate::abi;
use crate::error::{AbiResult, Result};
use abi_stable::std_types::{RErr, ROk, RStr};

/// A plugin's components by name. [`export_plugin!`](crate::export_plugin) implements it.
pub trait Components {
    /// The plugin's name in messages.
    const PLUGIN: &'static str;
    fn task(name: &str) -> Option<Box<dyn Task>>;
    fn adapter(name: &str) -> Option<Box<dyn Adapter>>;
    fn logger(name: &str) -> Option<Box<dyn Logger>>;
}

/// The root module of a plugin.
pub fn root_module<C: Components>() -> abi::PluginRef {
    use abi_stable::prefix_type::PrefixTypeTrait;
    abi::Plugin {
        init: init::<C>,
        task: task::<C>,
        adapter: adapter::<C>,
        logger: logger::<C>,
    }
    .leak_into_prefix()
}

/// The header of a plugin whose root module `constructor` gives.
pub const fn header<C: Components>(
    constructor: extern "C" fn() -> abi_stable::library::RootModuleResult,
) -> abi_stable::library::LibHeader {
    crate::raw::plugin_header(constructor)
}

extern "C" fn init<C: Components>(host: abi::HostRef) -> AbiResult<()> {
    let who = format!("plugin `{}`", C::PLUGIN);
    abi_result(super::guard::catch(&who, "init", || {
        super::telemetry::install(host);
        super::host::install(host);
        Ok(())
    }))
}

/// Constructs a component by name, guarded.
fn construct<T: ?Sized, B>(
    plugin: &str,
    kind: &str,
    name: RStr<'_>,
    make: fn(&str) -> Option<Box<T>>,
    wrap: fn(Box<T>, String) -> B,
) -> AbiResult<B> {
    let who = format!("plugin `{plugin}`, {kind} `{name}`");
    abi_result(super::guard::catch(&who, "new", || {
        let inner = make(name.as_str()).ok_or_else(|| shims::unknown(kind, name.as_str(), plugin))?;
        Ok(wrap(inner, who.clone()))
    }))
}

extern "C" fn task<C: Components>(name: RStr<'_>) -> AbiResult<abi::TaskBox> {
    construct(C::PLUGIN, "task", name, C::task, shims::task)
}

extern "C" fn adapter<C: Components>(name: RStr<'_>) -> AbiResult<abi::AdapterBox> {
    construct(C::PLUGIN, "adapter", name, C::adapter, shims::adapter)
}

extern "C" fn logger<C: Components>(name: RStr<'_>) -> AbiResult<abi::LoggerBox> {
    construct(C::PLUGIN, "logger", name, C::logger, shims::logger)
}

fn abi_result<T>(result: Result<T>) -> AbiResult<T> {
    match result {
        Ok(value) => ROk(value),
        Err(error) => RErr(error),
    }
}

/// Exports a plugin: its note, and its components behind a panic guard. Once in a cdylib, at the crate's root.
///
/// ```text
/// cvhost_plugin_api::export_plugin! {
///     torch: true,
///     schema: "../config.schema.json",
///     tasks: { "squares" => Squares },
///     adapters: { "tiny" => TinyAdapter, serves [("squares/1", "tiny")] },
///     loggers: {},
/// }
/// ```
///
/// `torch` says whether the plugin links libtorch; `schema` names a file relative to the source file, with the JSON Schema of
/// the configuration keys that the plugin reads. Components are expressions that make one. A logger with `default` before its
/// name is on in every run, unless the configuration has `loggers.<name>: false`.
#[macro_export]
macro_rules! export_plugin {
    (
        torch: $torch:literal,
        $(schema: $schema:literal,)?
        tasks: { $($task:literal => $make_task:expr),* $(,)? },
        adapters: { $($adapter:literal => $make_adapter:expr, serves [$(($form:literal, $model_type:literal)),+ $(,)?]),* $(,)? },
        loggers: { $($($mark:ident)? $logger:literal => $make_logger:expr),* $(,)? } $(,)?
    ) => {
        /// The plugin's components.
        struct CvhostPlugin;

        impl $crate::sdk::Components for CvhostPlugin {
            const PLUGIN: &'static str = env!("CARGO_PKG_NAME");
            fn task(name: &str) -> Option<Box<dyn $crate::sdk::Task>> {
                match name {
                    $($task => Some(Box::new($make_task)),)*
                    _ => None,
                }
            }
            fn adapter(name: &str) -> Option<Box<dyn $crate::sdk::Adapter>> {
                match name {
                    $($adapter => Some(Box::new($make_adapter)),)*
                    _ => None,
                }
            }
            fn logger(name: &str) -> Option<Box<dyn $crate::sdk::Logger>> {
                match name {
                    $($logger => Some(Box::new($make_logger)),)*
                    _ => None,
                }
            }
        }

        const _: () = {
            use $crate::note_bytes::Piece::{Comma, Raw, Text};
            const PIECES: &[$crate::note_bytes::Piece] = &[
                Raw("{\"schema\":1,\"name\":"), Text(env!("CARGO_PKG_NAME")),
                Raw(",\"version\":"), Text(env!("CARGO_PKG_VERSION")),
                Raw(",\"api\":"), Text($crate::note::API_VERSION),
                Raw(",\"libtorch\":"),
                if $torch { Text($crate::note::LIBTORCH_VERSION) } else { Raw("null") },
                Raw(",\"target\":"), Text($crate::note::TARGET),
                Raw(",\"rustc\":"), Text($crate::note::RUSTC),
                Raw(",\"panic\":"), Text(if cfg!(panic = "abort") { "abort" } else { "unwind" }),
                Raw(",\"license\":"), Text(env!("CARGO_PKG_LICENSE")),
                Raw(",\"description\":"), Text(env!("CARGO_PKG_DESCRIPTION")),
                Raw(",\"components\":["),
                $(Comma, Raw("{\"kind\":\"task\",\"name\":"), Text($task), Raw("}"),)*
                $(
                    Comma, Raw("{\"kind\":\"adapter\",\"name\":"), Text($adapter), Raw(",\"serves\":["),
                    $(Comma, Raw("{\"form\":"), Text($form), Raw(",\"model_type\":"), Text($model_type), Raw("}"),)+
                    Raw("]}"),
                )*
                $(
                    Comma, Raw("{\"kind\":\"logger\",\"name\":"), Text($logger),
                    $(Raw(concat!(",\"", stringify!($mark), "\":true")),)?
                    Raw("}"),
                )*
                Raw("]"),
                $(Raw(",\"config_schema\":"), Raw(include_str!($schema)),)?
                Raw("}"),
            ];
            const LENGTH: usize = $crate::note_bytes::length(PIECES);
            #[used]
            #[unsafe(link_section = ".note.cvhost")]
            static NOTE: $crate::note_bytes::NoteBytes<{ $crate::note_bytes::padded(LENGTH) }> =
                $crate::note_bytes::NoteBytes::new(PIECES, LENGTH);
        };

        const _: () = {
            extern "C" fn cvhost_plugin_root() -> $crate::abi_stable::library::RootModuleResult {
                $crate::abi_stable::library::__call_root_module_loader($crate::sdk::export::root_module::<CvhostPlugin>)
            }
            /// The header by which abi_stable finds the root module.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static CVHOST_PLUGIN_HEADER: $crate::abi_stable::library::LibHeader =
                $crate::sdk::export::header::<CvhostPlugin>(cvhost_plugin_root);
        };
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_has_the_name_that_abi_stable_looks_for() {
        let source = include_str!("export.rs");
        let name = abi_stable::library::ROOT_MODULE_LOADER_NAME;
        assert!(
            source.contains(&format!("export_name = \"{name}\"")),
            "abi_stable looks for {name}"
        );
    }
}
