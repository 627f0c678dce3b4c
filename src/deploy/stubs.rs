impl super::Autoscale {
    pub(crate) fn check(&self) -> crate::Result<()> {
        Ok(())
    }
}
use crate::container::*;
impl ContainerBuilder {
    pub(crate) fn join(self, _: &str) -> Self {
        self
    }
}
