//! Which program handles a command. Both programs match their enum exhaustively, so a command
//! missing from one of them is a compile error.

use super::{
    Command, CompletionsArgs, ConfigArgs, ConfigCommand, DataCommand, EvalArgs, PluginCommand, PredictArgs,
    RunArgs,
};

/// A command, by the program that handles it.
pub enum Program<'a> {
    /// `cvhost` itself, without libtorch.
    Launcher(LauncherCommand<'a>),
    /// `cvhost-engine`, which links libtorch.
    Engine(EngineCommand<'a>),
}

/// Commands handled by the launcher.
pub enum LauncherCommand<'a> {
    PluginList,
    /// The file or name to inspect.
    PluginInspect(&'a str),
    ConfigCheck(&'a ConfigArgs),
    ConfigShow(&'a ConfigArgs),
    Doctor,
    Completions(&'a CompletionsArgs),
}

/// Commands handled by the engine.
pub enum EngineCommand<'a> {
    Run(&'a RunArgs),
    Eval(&'a EvalArgs),
    Predict(&'a PredictArgs),
    Data(&'a DataCommand),
    /// `plugin list --load`.
    PluginLoad,
}

impl Command {
    /// The program that handles this command.
    pub fn program(&self) -> Program<'_> {
        use Program::{Engine, Launcher};
        match self {
            Command::Run(args) => Engine(EngineCommand::Run(args)),
            Command::Eval(args) => Engine(EngineCommand::Eval(args)),
            Command::Predict(args) => Engine(EngineCommand::Predict(args)),
            Command::Data(command) => Engine(EngineCommand::Data(command)),
            Command::Plugin(PluginCommand::List { load: true }) => Engine(EngineCommand::PluginLoad),
            Command::Plugin(PluginCommand::List { load: false }) => Launcher(LauncherCommand::PluginList),
            Command::Plugin(PluginCommand::Inspect { plugin }) => {
                Launcher(LauncherCommand::PluginInspect(plugin))
            }
            Command::Config(ConfigCommand::Check(args)) => Launcher(LauncherCommand::ConfigCheck(args)),
            Command::Config(ConfigCommand::Show(args)) => Launcher(LauncherCommand::ConfigShow(args)),
            Command::Doctor => Launcher(LauncherCommand::Doctor),
            Command::Completions(args) => Launcher(LauncherCommand::Completions(args)),
        }
    }
}
