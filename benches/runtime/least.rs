//! The floor as a contestant.

use crate::contest::{Contestant, Verb};
use crate::floor::Floor;
use crate::meter::{self, Sample};
use crate::setting::{Ground, Setting};
use crate::table::FLOOR;
use coracle::CapabilitySet;
use coracle::seccomp::{Architecture, Profile};

/// The least that `run` can be; the other verbs have no floor.
pub struct Least(Floor);

impl Least {
    pub fn new(ground: &Ground, setting: &Setting) -> Least {
        let native = Architecture::native().unwrap();
        let filter = Profile::default_for(&CapabilitySet::DEFAULT).compile(native).unwrap();
        Least(Floor::new(&ground.bundle(setting, FLOOR, "/bin/exit"), filter.to_bytes()))
    }
}

impl Contestant for Least {
    fn name(&self) -> String {
        FLOOR.to_owned()
    }

    fn run(&mut self) -> Result<Sample, String> {
        Ok(meter::inside(|| self.0.run()).1)
    }

    fn live(&mut self, _: &dyn Fn()) -> Result<Vec<(Verb, Sample)>, String> {
        Ok(Vec::new())
    }
}
