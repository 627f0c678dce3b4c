//! `COPY` and `ADD`: what a step takes from where, and how it lands in the image.

use super::configuration::{absolute, workdir_of};
use super::copy::{Attributes, Overrides, Writer};
use super::state::State;
use super::step::{Copy, Origin};
use super::tree::{Selected, Tree};
use crate::archive::{self, Budget, ExtractOptions, Form};
use crate::container::user;
use crate::error::{Context, During};
use crate::store::{EntryKind, MergedView, Snapshot, Store};
use crate::value::{IdOrName, User};
use crate::{Digest, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A copy with its sources found.
pub(super) struct Transfer<'step> {
    step: &'step Copy,
    tree: Option<&'step Tree>,
    selected: Vec<Selected>,
    /// Absolute; ends with `/` where it must be a directory.
    target: String,
}

impl<'step> Transfer<'step> {
    /// Finds the sources of `step` in `tree`; without one there are files given by content alone.
    pub(super) fn find(step: &'step Copy, tree: Option<&'step Tree>, state: &State) -> Result<Transfer<'step>> {
        let mut selected = Vec::new();
        for source in &step.sources {
            let tree = tree.ok_or_else(|| {
                Error::invalid(format!("{source}: there is no build context")).hint("name the file with .copy(..)")
            })?;
            selected.extend(tree.select(source)?);
        }
        let target = absolute(&workdir_of(&state.config), &step.target);
        Ok(Transfer { step, tree, selected, target })
    }

    /// The digest of all that decides on the result, but for the image.
    pub(super) fn digest(&self) -> Result<Digest> {
        let Copy { inline, owner, mode, extract, .. } = self.step;
        let content = match self.tree {
            Some(tree) => Some(tree.digest(&self.selected, self.keeps_owners())?),
            None => None,
        };
        let several = self.several();
        Ok(Digest::of(format!("{:?}", (&self.target, inline, owner, mode, extract, several, content)).as_bytes()))
    }

    /// Writes into `snapshot`; the number of files that could not be copied.
    pub(super) fn write(&self, store: &Store, snapshot: &Snapshot) -> Result<u64> {
        let overrides = Overrides { owner: self.owner(&snapshot.view())?, mode: self.step.mode };
        let mut writer = Writer::new(snapshot)?;
        for selected in &self.selected {
            let Some(tree) = self.tree else { continue };
            let archive = match self.step.extract && selected.metadata.kind == EntryKind::File {
                true => open_archive(tree.open(&selected.path)?).context(|| format!("{}", selected.path.display()))?,
                false => None,
            };
            match archive {
                Some((file, size)) => self.extract(store, file, size, &mut writer)?,
                None => writer.copy(tree, selected, &self.target, self.several(), &overrides)?,
            }
        }
        for (name, content) in &self.step.inline {
            let attributes = Attributes { mode: self.step.mode.unwrap_or(0o644), ..overrides.implied() };
            let mut target = PathBuf::from(&self.target);
            if self.several() || self.target.ends_with('/') || writer.is_directory(&target)? {
                target.push(name);
            }
            writer.file(&target, &mut content.as_bytes(), &attributes).context(|| format!("{}", target.display()))?;
        }
        let skipped = writer.skipped;
        writer.finish()?;
        Ok(skipped)
    }

    fn several(&self) -> bool {
        self.selected.len() + self.step.inline.len() > 1 || self.step.sources.len() > 1
    }

    /// What comes from an image keeps its owners; what comes from the host belongs to root.
    fn keeps_owners(&self) -> bool {
        self.step.owner.is_none() && matches!(self.step.origin, Origin::Stage(_) | Origin::Image(_))
    }

    fn owner(&self, view: &MergedView) -> Result<Option<(u32, u32)>> {
        let Some(text) = &self.step.owner else { return Ok((!self.keeps_owners()).then_some((0, 0))) };
        let mut user: User = text.parse()?;
        if let (IdOrName::Id(id), None) = (&user.user, &user.group) {
            // Dockerfile reference, "COPY --chown": a number alone is the group's too.
            user.group = Some(IdOrName::Id(*id));
        }
        let identity = user::resolve(view, &user).context(|| format!("--chown={text}"))?;
        Ok(Some((identity.user, identity.group)))
    }

    /// Extracts an archive aside, then copies: so that links of lower layers are followed. Owners and modes are those of
    /// the archive.
    fn extract(&self, store: &Store, file: File, size: u64, writer: &mut Writer) -> Result<()> {
        let aside = store.layers().stage_tree()?;
        let upper = File::open(aside.upper()).during(|| "open a temporary directory")?;
        let owner = match &self.step.owner {
            Some(_) => self.owner(&aside.view())?,
            None => None,
        };
        let options = ExtractOptions { budget: Budget::of_compressed(size), form: Form::Plain, owner };
        let mut reader = archive::decompress(file)?;
        archive::extract(&mut reader, upper.as_fd(), &options)?;
        let tree = Tree::image(aside.view(), "the archive".to_owned());
        let overrides = Overrides { owner: None, mode: self.step.mode };
        for selected in tree.select("/")? {
            writer.copy(&tree, &selected, &self.target, true, &overrides)?;
        }
        Ok(())
    }
}

/// The file and its size, where it is a tar archive, compressed or not; told by its content as Docker does.
fn open_archive(mut file: File) -> Result<Option<(File, u64)>> {
    let size = file.metadata().during(|| "inspect")?.len();
    let mut block = Vec::new();
    let clone = file.try_clone().during(|| "open")?;
    let begins = match archive::decompress(clone) {
        Ok(reader) => reader.take(512).read_to_end(&mut block).is_ok(),
        Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
        Err(_) => false,
    };
    file.seek(SeekFrom::Start(0)).during(|| "read")?;
    let is_archive = begins && block.get(257..262) == Some(b"ustar");
    Ok(is_archive.then_some((file, size)))
}
