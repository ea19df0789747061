//! What autotune found on this machine's GPU, remembered in the user's cache: `edge-reranker/tuning.json`. Without such a folder, or
//! without leave to write there, the next run measures again.

use std::{fs, path::PathBuf};

fn path() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("edge-reranker").join("tuning.json"))
}

pub(super) fn read() -> Option<String> {
    fs::read_to_string(path()?).ok()
}

pub(super) fn write(text: &str) {
    let Some(path) = path() else { return };
    if read().as_deref() == Some(text) {
        return;
    }
    // Aside first: another process may read at the same moment.
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&aside, text));
    if written.and_then(|()| fs::rename(&aside, &path)).is_err() {
        let _ = fs::remove_file(&aside);
    }
}
