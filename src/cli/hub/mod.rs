//! Models from the Hugging Face hub: found in the cache, or downloaded into it.

mod cache;
mod fetch;
mod http;
mod id;

use std::{cell::Cell, path::PathBuf};

use sha2::{Digest, Sha256};

pub(crate) use id::{Id, aliases};

use self::{
    cache::Repo,
    fetch::{Wanted, fetch},
    http::Client,
    id::{Part, is_gguf, is_safe, is_word, pick_quant},
};
use super::progress::{Progress, Unit, note, size};
use crate::error::{Error, ErrorKind, Result};

/// The path of a model that has been downloaded before: a GGUF file or a checkpoint's folder. Needs no network.
pub(crate) fn cached(id: &Id) -> Result<Option<PathBuf>> {
    Ok(Repo::new(id)?.find(id))
}

/// Downloads what of a model is not here yet and gives its path.
pub(crate) fn download(id: &Id, quiet: bool) -> Result<PathBuf> {
    let client = Client::from_environment().map_err(|e| e.at(format!("model {}", id.repo)))?;
    let repo = Repo::new(id)?;
    let (commit, files) = plan(&client, id)?;
    let missing: Vec<&Wanted> = files.iter().filter(|f| !repo.blob(&f.etag).is_file()).collect();
    let total: Option<u64> = missing.iter().map(|f| f.size).sum();
    if !missing.is_empty() {
        let size = total.map_or("of unknown size".into(), size);
        let from = client.endpoint();
        note(quiet, &format!("downloading {} ({size}) from {from} into {}", id.repo, repo.folder.display()));
    }
    let bar = Progress::new(!quiet, Unit::Download, "Downloading", total);
    let (before, resumed) = (Cell::new(0), Cell::new(false));
    for file in &missing {
        let waiting = || note(quiet, &format!("another process is downloading {}; waiting for it", file.path));
        let here = Cell::new(0);
        fetch(&client, &repo, file, waiting, &|done| {
            here.set(done);
            // What an earlier attempt brought is not this one's speed.
            match resumed.replace(true) {
                false => bar.start(before.get() + done),
                true => bar.set(before.get() + done),
            }
        })?;
        before.set(before.get() + here.get());
    }
    drop(bar);
    for file in &files {
        repo.link(&commit, &file.path, &file.etag)?;
    }
    repo.remember(&id.revision, &commit)?;
    repo.find(id).ok_or_else(|| {
        Error::new(ErrorKind::BadModel, "is no complete checkpoint: a file that its index names is missing")
            .at(&id.repo)
    })
}

/// The commit, and the files to have.
fn plan(client: &Client, id: &Id) -> Result<(String, Vec<Wanted>)> {
    let (listed, names) = match &id.part {
        Part::File(file) => (None, vec![file.clone()]),
        part => choose(client, id, part)?,
    };
    let mut commit = listed;
    let mut files = Vec::new();
    for path in names {
        let url = client.file(&id.repo, &id.revision, &path);
        let head = client.head(&url)?;
        commit = commit.or(head.commit);
        // A plain mirror may send no tag: then the name stands for the content.
        let etag = head.etag.unwrap_or_else(|| {
            let hash = Sha256::digest(format!("{url} {:?}", head.size));
            format!("untagged-{}", hash.iter().take(16).map(|b| format!("{b:02x}")).collect::<String>())
        });
        files.push(Wanted { path, url, etag, size: head.size });
    }
    Ok((commit.unwrap_or_else(|| id.revision.replace('/', "-")), files))
}

/// The files of a repository that make its model, and the commit if the listing names it.
fn choose(client: &Client, id: &Id, part: &Part) -> Result<(Option<String>, Vec<String>)> {
    let Some(listing) = client.json(&client.listing(&id.repo, &id.revision))? else {
        return match part {
            // A mirror of plain files.
            Part::Whole => Ok((None, unlisted(client, id)?)),
            _ => http::check(&client.listing(&id.repo, &id.revision), ureq::http::StatusCode::NOT_FOUND)
                .map(|()| (None, Vec::new())),
        };
    };
    let commit = listing["sha"].as_str().filter(|c| is_word(c)).map(str::to_owned);
    let siblings = listing["siblings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = siblings.iter().filter_map(|s| s["rfilename"].as_str()).filter(|n| is_safe(n)).collect();
    let ggufs: Vec<&str> = names.iter().copied().filter(|n| is_gguf(n)).collect();
    let refuse = |what: String| {
        let hint = match ggufs.is_empty() {
            true => "choose a repository with a GGUF file, or with config.json and safetensors".into(),
            false => format!("add one of them as /file: {}", ggufs.join(", ")),
        };
        Err(Error::new(ErrorKind::BadInput, what).at(&id.repo).hint(hint))
    };
    if let Part::Quant(quant) = part {
        return match pick_quant(names.iter().copied(), quant) {
            Some(name) => Ok((commit, vec![name.to_owned()])),
            None => refuse(format!("no GGUF file of type {quant}")),
        };
    }
    let is_weights = |n: &str| n.ends_with(".safetensors") && !n.contains('/');
    if names.contains(&"config.json") && names.iter().any(|n| is_weights(n)) {
        let settings = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
        let mut wanted: Vec<String> = settings.iter().filter(|n| names.contains(n)).map(|&n| n.to_owned()).collect();
        wanted.extend(names.iter().filter(|n| is_weights(n)).map(|&n| n.to_owned()));
        return Ok((commit, wanted));
    }
    match ggufs[..] {
        [only] => Ok((commit, vec![only.to_owned()])),
        [] => refuse("no model that can be read here".into()),
        _ => refuse("several GGUF files".into()),
    }
}

/// The files of a checkpoint on a mirror without listings.
fn unlisted(client: &Client, id: &Id) -> Result<Vec<String>> {
    const INDEX: &str = "model.safetensors.index.json";
    let mut names = vec!["config.json".to_owned(), "tokenizer.json".to_owned()];
    let url = client.file(&id.repo, &id.revision, INDEX);
    match client.json(&url)? {
        None => names.push("model.safetensors".into()),
        Some(index) => {
            let shards = index["weight_map"].as_object().into_iter().flatten().filter_map(|(_, file)| file.as_str());
            let shards: std::collections::BTreeSet<&str> = shards.filter(|f| is_safe(f) && !f.contains('/')).collect();
            names.push(INDEX.into());
            names.extend(shards.into_iter().map(str::to_owned));
        }
    }
    Ok(names)
}
