//! The Compose file, with what this example wants of it.

use coracle::compose::{self, ProjectEvent};
use coracle::{DeploymentStats, Engine, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The port of the host that leads to the front.
const PORT: u16 = 8080;

/// The shop, up or down.
pub struct Platform {
    engine: Engine,
    directory: PathBuf,
}

impl Platform {
    /// The shop whose Compose file is in `directory`.
    pub fn new(engine: &Engine, directory: &Path) -> Platform {
        Platform { engine: engine.clone(), directory: directory.to_owned() }
    }

    /// Where people find it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], PORT))
    }

    /// Brings it up, or what is up to this version of the catalogue.
    pub fn up(&self, catalogue: u32, news: impl FnMut(&ProjectEvent)) -> Result<()> {
        compose::up(&self.engine, &self.project(catalogue)?).build(true).on_event(news).run()
    }

    /// Every replica, as a table.
    pub fn replicas(&self) -> Result<String> {
        Ok(compose::ps(&self.engine, &self.project(1)?)?.to_string())
    }

    /// What every service uses.
    pub fn usage(&self) -> Result<Vec<DeploymentStats>> {
        self.engine.deployment_stats()
    }

    /// Takes it down, with what its databases hold.
    pub fn down(&self) -> Result<()> {
        compose::down(&self.engine, &self.project(1)?).volumes(true).run()
    }

    fn project(&self, catalogue: u32) -> Result<compose::Project> {
        let file = self.directory.join("compose.yaml");
        let text = std::fs::read_to_string(&file)
            .map_err(|error| coracle::Error::invalid(format!("read {}", file.display())).source_error(error))?;
        let mut variables: BTreeMap<String, String> = ["SHOP_PASSWORD", "SHOP_REPLICAS"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        variables.insert("SHOP_PORT".to_owned(), PORT.to_string());
        variables.insert("CATALOGUE_VERSION".to_owned(), catalogue.to_string());
        compose::Project::parse(&text, &self.directory, &variables)
    }
}
