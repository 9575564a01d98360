//! The state of a run in one file, which is there as a whole or not at all.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use burn::{
    module::Module,
    store::{ModuleRecord, RecordError},
    tensor::Bytes,
};
use flate2::Crc;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{configuration::Configuration, history::write_whole, train::Trainer};

/// The version of the format: a program of another one cannot read it.
const FORMAT: u32 = 2;

/// What a state has in addition to the weights and the moments of Adam.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    configuration: Configuration,
    /// Steps done.
    step: u64,
    /// Seconds that they and the measurements between have taken.
    seconds: f64,
    /// Of both records, one after the other.
    checksum: u32,
}

/// Writes the state of a run.
///
/// The file is one of safetensors, with a JSON header in its metadata and two arrays of bytes: the records of the
/// network and of the optimizer, as burn writes them.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn save(path: &Path, configuration: &Configuration, trainer: &Trainer, seconds: f64) -> Result<()> {
    let failed = |error: RecordError| anyhow!("{}: {error}", path.display());
    let network = trainer.network.clone().into_record().into_bytes().map_err(failed)?;
    let optimizer = trainer.optimizer.into_bytes().map_err(failed)?;
    let header = Header {
        format: FORMAT,
        configuration: configuration.clone(),
        step: trainer.step,
        seconds,
        checksum: checksum(&network, &optimizer),
    };
    let metadata = HashMap::from([("run".to_owned(), serde_json::to_string(&header)?)]);
    let network = TensorView::new(Dtype::U8, vec![network.len()], &network)?;
    let optimizer = TensorView::new(Dtype::U8, vec![optimizer.len()], &optimizer)?;
    let bytes = safetensors::serialize([("network", network), ("optimizer", optimizer)], Some(metadata))?;
    write_whole(path, &bytes)
}

/// Reads a state into `trainer`, which is one of this configuration; the seconds are those of [`save`].
///
/// # Errors
///
/// A file that is missing, damaged, of no run or of one of another configuration.
pub fn load(path: &Path, configuration: &Configuration, trainer: Trainer) -> Result<(Trainer, f64)> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).with_context(name)?;
    read(&bytes, configuration, trainer).with_context(name)
}

fn read(bytes: &[u8], configuration: &Configuration, mut trainer: Trainer) -> Result<(Trainer, f64)> {
    let tensors = SafeTensors::deserialize(bytes).context("this is not a checkpoint, or a damaged one")?;
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let run = metadata.metadata().as_ref().and_then(|metadata| metadata.get("run"));
    let run = run.context("this is not a checkpoint of a run")?;
    let header: Header = serde_json::from_str(run).context("the header of the checkpoint is of another version")?;
    ensure!(header.format == FORMAT, "the format is {}, accepted is {FORMAT}", header.format);
    let (network, optimizer) = (tensors.tensor("network")?.data(), tensors.tensor("optimizer")?.data());
    ensure!(checksum(network, optimizer) == header.checksum, "the checkpoint is damaged: its checksum is another");
    configuration.check_same(&header.configuration)?;
    let failed = |error: RecordError| anyhow!("the state does not fit the network: {error}");
    let copy = |bytes: &[u8]| Bytes::from_bytes_vec(bytes.to_vec());
    let record = ModuleRecord::from_bytes(copy(network)).map_err(failed)?;
    trainer.network = trainer.network.try_load_record(record).map_err(failed)?;
    trainer.optimizer = trainer.optimizer.from_bytes(copy(optimizer)).map_err(failed)?;
    trainer.step = header.step;
    Ok((trainer, header.seconds))
}

fn checksum(network: &[u8], optimizer: &[u8]) -> u32 {
    let mut checksum = Crc::new();
    checksum.update(network);
    checksum.update(optimizer);
    checksum.sum()
}
