//! The request to stop.

use tokio_util::sync::CancellationToken;

/// Tells running components to stop. Clones and children hear the request; a child's request stays with the child.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks everyone who holds this, and every child, to stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until somebody asks.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A stop that follows this one and can also be requested alone.
    pub fn child(&self) -> Stop {
        Stop(self.0.child_token())
    }

    /// The token, for libraries that want one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}
