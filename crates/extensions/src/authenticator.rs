//! What the authenticators share: they run nothing and answer when they are asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use auth::{Authenticator, Credentials};
use component::{Authentication, Extension, ExtensionContext, Running, StartError};

/// An extension that knows something of credentials and does nothing by itself.
pub(crate) struct AuthenticatorExtension(Authentication);

impl AuthenticatorExtension {
    /// One that says who may send.
    pub(crate) fn server(authenticator: impl Authenticator + 'static) -> Authentication {
        Authentication { server: Some(Arc::new(authenticator)), client: None }
    }

    /// One that says what to send.
    pub(crate) fn client(credentials: impl Credentials + 'static) -> Authentication {
        Authentication { server: None, client: Some(Arc::new(credentials)) }
    }

    pub(crate) fn boxed(authentication: Authentication) -> Box<dyn Extension> {
        Box::new(AuthenticatorExtension(authentication))
    }
}

impl Extension for AuthenticatorExtension {
    fn authentication(&self) -> Authentication {
        self.0.clone()
    }

    fn start(
        self: Box<Self>,
        context: ExtensionContext,
    ) -> Pin<Box<dyn Future<Output = Result<Running, StartError>> + Send>> {
        let running: Running = Box::pin(async move {
            context.stop.requested().await;
            Ok(())
        });
        Box::pin(std::future::ready(Ok(running)))
    }
}
