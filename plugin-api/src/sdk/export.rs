//! The macro that exports a plugin, and what it expands to.

use super::args::NewArgs;
use super::shims;
use super::traits::{Adapter, Logger, Task};
use crate::abi;
use crate::error::{AbiResult, Result};
use abi_stable::std_types::{RErr, ROk};

/// A plugin's components by name. [`export_plugin!`](crate::export_plugin) implements it.
pub trait Components {
    /// The plugin's name in messages.
    const PLUGIN: &'static str;
    /// Whether the plugin links libtorch.
    const TORCH: bool;
    fn task(args: &NewArgs) -> Option<Result<Box<dyn Task>>>;
    fn adapter(args: &NewArgs) -> Option<Result<Box<dyn Adapter>>>;
    fn logger(args: &NewArgs) -> Option<Result<Box<dyn Logger>>>;
}

/// Calls a task's constructor.
pub fn boxed_task<T: Task + 'static>(
    new: impl FnOnce(&NewArgs) -> Result<T>,
    args: &NewArgs,
) -> Result<Box<dyn Task>> {
    Ok(Box::new(new(args)?))
}

/// Calls an adapter's constructor.
pub fn boxed_adapter<T: Adapter + 'static>(
    new: impl FnOnce(&NewArgs) -> Result<T>,
    args: &NewArgs,
) -> Result<Box<dyn Adapter>> {
    Ok(Box::new(new(args)?))
}

/// Calls a logger's constructor.
pub fn boxed_logger<T: Logger + 'static>(
    new: impl FnOnce(&NewArgs) -> Result<T>,
    args: &NewArgs,
) -> Result<Box<dyn Logger>> {
    Ok(Box::new(new(args)?))
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

/// The header of a plugin whose root module `constructor` returns.
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
    args: abi::NewArgsRef<'_>,
    make: fn(&NewArgs) -> Option<Result<Box<T>>>,
    wrap: fn(Box<T>, String) -> B,
) -> AbiResult<B> {
    let name = args.name();
    let who = format!("plugin `{plugin}`, {kind} `{name}`");
    abi_result(super::guard::catch(&who, "new", || {
        let made = make(&NewArgs::from_abi(args)?);
        let inner = made.ok_or_else(|| shims::unknown(kind, name.as_str(), plugin))??;
        Ok(wrap(inner, who.clone()))
    }))
}

extern "C" fn task<C: Components>(args: abi::NewArgsRef<'_>) -> AbiResult<abi::TaskBox> {
    construct(C::PLUGIN, "task", args, C::task, shims::task)
}

extern "C" fn adapter<C: Components>(args: abi::NewArgsRef<'_>) -> AbiResult<abi::AdapterBox> {
    construct(C::PLUGIN, "adapter", args, C::adapter, shims::adapter)
}

extern "C" fn logger<C: Components>(args: abi::NewArgsRef<'_>) -> AbiResult<abi::LoggerBox> {
    construct(C::PLUGIN, "logger", args, C::logger, shims::logger)
}

fn abi_result<T>(result: Result<T>) -> AbiResult<T> {
    match result {
        Ok(value) => ROk(value),
        Err(error) => RErr(error),
    }
}

/// Exports a plugin: its note, and its components behind a panic guard. Used once in a cdylib, at the
/// crate's root. Any of the sections may be left out, in any order.
///
/// ```text
/// cvhost_plugin_api::export_plugin! {
///     torch: true,
///     schema: "../config.schema.json",
///     tasks: { "squares" => Squares::new },
///     adapters: { "tiny" => |_| Ok(TinyAdapter), serves [("squares/1", "tiny")] },
///     loggers: { default "lines" => |_| Ok(Lines::default()) },
/// }
/// ```
///
/// `torch` says whether the plugin links libtorch (`false` where it is left out). `schema` is a file
/// relative to the source file, with the JSON Schema of the configuration keys that the plugin reads.
/// A component is a name and a function of [`NewArgs`] that returns a `Result` of it. An adapter lists
/// the pairs of form and `model_type` that it serves. A logger marked `default` is on in every run,
/// unless the configuration has `loggers.<name>: false`.
///
/// A misspelt section is a compile error:
///
/// ```compile_fail
/// cvhost_plugin_api::export_plugin! { task: {} }
/// ```
///
/// So is a misspelt mark of a logger:
///
/// ```compile_fail
/// # struct Lines;
/// cvhost_plugin_api::export_plugin! { loggers: { defualt "lines" => |_| Ok(Lines) } }
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($($section:ident : $content:tt),* $(,)?) => {
        $crate::__export_plugin! { @sort [] [] [] [] [] $($section : $content,)* }
    };
}

/// Sorts the sections of [`export_plugin!`](crate::export_plugin) and expands them.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    (@sort [] $schema:tt $tasks:tt $adapters:tt $loggers:tt torch: $new:tt, $($rest:tt)*) => {
        $crate::__export_plugin! { @sort [$new] $schema $tasks $adapters $loggers $($rest)* }
    };
    (@sort $torch:tt [] $tasks:tt $adapters:tt $loggers:tt schema: $new:tt, $($rest:tt)*) => {
        $crate::__export_plugin! { @sort $torch [$new] $tasks $adapters $loggers $($rest)* }
    };
    (@sort $torch:tt $schema:tt [] $adapters:tt $loggers:tt tasks: {$($new:tt)*}, $($rest:tt)*) => {
        $crate::__export_plugin! { @sort $torch $schema [$($new)*] $adapters $loggers $($rest)* }
    };
    (@sort $torch:tt $schema:tt $tasks:tt [] $loggers:tt adapters: {$($new:tt)*}, $($rest:tt)*) => {
        $crate::__export_plugin! { @sort $torch $schema $tasks [$($new)*] $loggers $($rest)* }
    };
    (@sort $torch:tt $schema:tt $tasks:tt $adapters:tt [] loggers: {$($new:tt)*}, $($rest:tt)*) => {
        $crate::__export_plugin! { @sort $torch $schema $tasks $adapters [$($new)*] $($rest)* }
    };
    (@sort $torch:tt $schema:tt $tasks:tt $adapters:tt $loggers:tt $other:ident: $new:tt, $($rest:tt)*) => {
        compile_error!(concat!(
            "export_plugin!: the section `", stringify!($other), "` is unknown or given twice; expected ",
            "torch, schema, tasks, adapters, loggers, each once at most",
        ));
    };
    (@sort [] $schema:tt $tasks:tt $adapters:tt $loggers:tt) => {
        $crate::__export_plugin! { @emit [false] $schema $tasks $adapters $loggers }
    };
    (@sort $torch:tt $schema:tt $tasks:tt $adapters:tt $loggers:tt) => {
        $crate::__export_plugin! { @emit $torch $schema $tasks $adapters $loggers }
    };
    (@mark default) => { ",\"default\":true" };
    (@mark $other:ident) => {
        compile_error!(concat!(
            "export_plugin!: a logger can't be marked `", stringify!($other), "`; expected `default`, or no mark",
        ))
    };
    (
        @emit [$torch:literal] [$($schema:literal)?]
        [$($task:literal => $new_task:expr),* $(,)?]
        [$($adapter:literal => $new_adapter:expr, serves [$(($form:expr, $model_type:expr)),+ $(,)?]),* $(,)?]
        [$($($mark:ident)? $logger:literal => $new_logger:expr),* $(,)?]
    ) => {
        /// The plugin's components.
        struct CvhostPlugin;

        impl $crate::sdk::Components for CvhostPlugin {
            const PLUGIN: &'static str = env!("CARGO_PKG_NAME");
            const TORCH: bool = $torch;
            fn task(args: &$crate::sdk::NewArgs) -> Option<$crate::Result<Box<dyn $crate::sdk::Task>>> {
                match args.name.as_str() {
                    $($task => Some($crate::sdk::export::boxed_task($new_task, args)),)*
                    _ => None,
                }
            }
            fn adapter(args: &$crate::sdk::NewArgs) -> Option<$crate::Result<Box<dyn $crate::sdk::Adapter>>> {
                match args.name.as_str() {
                    $($adapter => Some($crate::sdk::export::boxed_adapter($new_adapter, args)),)*
                    _ => None,
                }
            }
            fn logger(args: &$crate::sdk::NewArgs) -> Option<$crate::Result<Box<dyn $crate::sdk::Logger>>> {
                match args.name.as_str() {
                    $($logger => Some($crate::sdk::export::boxed_logger($new_logger, args)),)*
                    _ => None,
                }
            }
        }

        $(
            const _: () = assert!(
                $crate::json_check::is_json(include_str!($schema)),
                concat!("export_plugin!: the schema ", $schema, " is not valid JSON")
            );
        )?

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
                    $(Raw($crate::__export_plugin!(@mark $mark)),)?
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
