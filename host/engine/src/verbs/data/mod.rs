//! `cvhost data …`: what is in the data of a configuration, before anything is trained with it.

mod speed;

use cvhost::cli::{DataCommand, Global};
use cvhost::error::Result;

pub fn data(command: &DataCommand, global: &Global) -> Result<()> {
    match command {
        DataCommand::Speed(args) => speed::speed(args, global),
    }
}
