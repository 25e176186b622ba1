//! The smallest complete third-party plugin: a task on synthetic images, a model for it, and a
//! logger.

mod adapter;
mod logger;
mod task;
mod wrapper;

cvhost_plugin_api::export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    tasks: { "halves" => |_| Ok(task::Halves) },
    adapters: {
        "columns" => |_| Ok(adapter::Columns), serves [("halves/1", "toy-columns")],
        "wrapper" => |_| Ok(wrapper::Wrapper), serves [("halves/1", "toy-wrapped")],
    },
    loggers: { "counter" => |_| Ok(logger::Counter::default()) },
}
