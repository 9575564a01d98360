//! What several subcommands do: flags of a model, certified minimizers, the law of contrasts, numbers for people, figures on disk, the last words of a program.

pub(crate) mod certificate;
pub(crate) mod contrasts;
pub(crate) mod conventions;
pub(crate) mod counts;
pub(crate) mod loss_flags;
pub(crate) mod model_flags;
pub(crate) mod numbers;
pub(crate) mod svg_file;
pub(crate) mod terminal;
