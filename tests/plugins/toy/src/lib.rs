//! The smallest complete third-party plugin: a task on synthetic images, a model for it, and a logger.

mod adapter;
mod logger;
mod task;

cvhost_plugin_api::export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    tasks: { "halves" => |_| Ok(task::Halves) },
    adapters: { "columns" => |_| Ok(adapter::Columns), serves [("halves/1", "toy-columns")] },
    loggers: { "counter" => |_| Ok(logger::Counter::default()) },
}
