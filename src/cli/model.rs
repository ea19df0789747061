//! From what `--model` says to files, and from files to a loaded model.

use std::path::{Path, PathBuf};

use futures::executor::block_on;

#[cfg(feature = "gpu")]
use super::tuning;
use super::{
    Common,
    hub::{self, Id},
    interrupt,
    progress::{Progress, Unit},
};
use crate::{
    backend::Pace,
    error::{Error, ErrorKind, Result},
    local,
    rerank::{LoadOptions, Reranker},
    weights::SourceFile,
};

/// The name of the model inside the binary.
pub(crate) const BUILTIN: &str = "mini";

/// A model's files, found.
pub(crate) struct Found {
    /// What replies call the model.
    pub(crate) name: String,
    pub(crate) files: Vec<SourceFile>,
    pub(crate) place: Place,
}

/// Where a model came from, for errors about it.
#[derive(Clone)]
pub(crate) struct Place {
    /// The model as a whole.
    whole: PathBuf,
    /// Its files: what the core calls each, and its path.
    files: Vec<(String, PathBuf)>,
}

impl Place {
    fn new(whole: PathBuf, files: &[SourceFile]) -> Self {
        let in_folder = whole.is_dir();
        let path = |f: &SourceFile| if in_folder { whole.join(&f.name) } else { whole.clone() };
        Self { files: files.iter().map(|f| (f.name.clone(), path(f))).collect(), whole }
    }

    /// An error with its place. The core knows the files by their names: such a name becomes the file's path.
    pub(crate) fn name(&self, e: Error) -> Error {
        let text = e.to_string();
        let of_file = self.files.iter().find_map(|(name, path)| {
            let rest = text.strip_prefix(name.as_str())?.strip_prefix(": ")?;
            Some(Error::new(e.kind(), rest).at(path.display().to_string()))
        });
        of_file.unwrap_or_else(|| e.at(self.whole.display().to_string()))
    }

    /// The paths of the model's files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }
}

/// What `--model` may say.
enum Spec {
    Builtin,
    Path(PathBuf),
    Hub(Id),
}

/// What exists on the disk is a path; what does not may be an id.
fn parse(text: &str) -> Result<Spec> {
    let path = Path::new(text);
    if text == BUILTIN {
        return Ok(Spec::Builtin);
    }
    if path.exists() {
        return Ok(Spec::Path(path.to_owned()));
    }
    Id::parse(text).map(Spec::Hub).ok_or_else(|| {
        Error::bad_input("no such file or folder, and not the id of a model").at(format!("model {text:?}")).hint(
            format!(
                "give a .gguf file, a checkpoint's folder, {BUILTIN}, {}, or owner/name of a Hugging Face repository",
                hub::aliases().join(", ")
            ),
        )
    })
}

/// Finds the files of `model`, downloading them if they are not on this machine yet.
pub(crate) fn find(common: &Common, model: &str) -> Result<Found> {
    let found = match parse(model)? {
        Spec::Hub(id) => match hub::cached(&id)? {
            Some(path) => at(common, model.to_owned(), path)?,
            None => at(common, model.to_owned(), hub::download(&id, common.quiet)?)?,
        },
        here => on_disk(common, here)?,
    };
    with_tokenizer(common, found)
}

/// Refuses the model of `--model` where it is a path at which there is none. One that may have to be fetched is not looked at.
pub(crate) fn check(common: &Common) -> Result<()> {
    match parse(&common.model)? {
        Spec::Hub(_) => Ok(()),
        here => with_tokenizer(common, on_disk(common, here)?).map(drop),
    }
}

/// Finds the files of `model` if they are on this machine.
pub(crate) fn find_here(common: &Common, model: &str) -> Result<Found> {
    let found = match parse(model)? {
        Spec::Hub(id) => {
            let path = hub::cached(&id)?.ok_or_else(|| {
                Error::bad_input("is not on this machine")
                    .at(format!("model {model}"))
                    .hint(format!("run: edge-reranker download {model}"))
            })?;
            at(common, model.to_owned(), path)?
        }
        here => on_disk(common, here)?,
    };
    with_tokenizer(common, found)
}

fn on_disk(common: &Common, spec: Spec) -> Result<Found> {
    match spec {
        Spec::Builtin => {
            let files = local::builtin();
            let place = Place::new(BUILTIN.into(), &files);
            Ok(Found { name: BUILTIN.into(), files, place })
        }
        Spec::Path(path) => {
            let full = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
            let name =
                full.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
            at(common, name, path)
        }
        Spec::Hub(_) => unreachable!("ids are looked up by the callers"),
    }
}

fn at(common: &Common, name: String, path: PathBuf) -> Result<Found> {
    let files = if common.streaming.is_some() { local::open_streamed(&path)? } else { local::open(&path)? };
    let place = Place::new(path, &files);
    Ok(Found { name, files, place })
}

fn with_tokenizer(common: &Common, mut found: Found) -> Result<Found> {
    if let Some(path) = &common.tokenizer {
        let file = local::open_tokenizer(path)?;
        found.files.retain(|f| f.name != file.name);
        found.place.files.retain(|(name, _)| *name != file.name);
        let path = if path.is_dir() { path.join(&file.name) } else { path.clone() };
        found.place.files.push((file.name.clone(), path));
        found.files.push(file);
    }
    Ok(found)
}

/// Loads the model that `--model` names, with a progress bar.
pub(crate) fn load(common: &Common) -> Result<Reranker> {
    let Found { name, files, place } = find(common, &common.model)?;
    let bar = Progress::new(!common.quiet, Unit::Bytes, format!("Loading {name}"), Some(0));
    let options = LoadOptions {
        name: Some(name),
        threads: common.threads.into(),
        device: common.device()?,
        streaming: common.streaming.map(|mb| mb << 20),
        #[cfg(feature = "gpu")]
        gpu: crate::backend::GpuOptions {
            name: common.adapter.clone(),
            tuning: tuning::read(),
            profile: std::env::var_os("EDGE_RERANKER_PROFILE").is_some(),
            ..Default::default()
        },
    };
    let loaded = interrupt::pausing(|cancel| {
        block_on(Reranker::load(files, options, |loaded, total| {
            bar.total(total);
            bar.set(loaded);
            match cancel.cancelled() {
                true => Err(Error::new(ErrorKind::Aborted, "loading was interrupted")),
                false => Ok(()),
            }
        }))
    });
    let loaded = loaded.map_err(|e| place.name(e))?;
    #[cfg(feature = "gpu")]
    if let Some(gpu) = loaded.gpu() {
        tuning::write(&gpu.tuning());
    }
    Ok(loaded)
}
