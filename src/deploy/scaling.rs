use super::runner::Runner;
use crate::Result;
use crate::container::Services;
use std::sync::Arc;
pub(crate) fn adjust(_: &Arc<Services>, _: &mut Runner) -> Result<()> {
    Ok(())
}
