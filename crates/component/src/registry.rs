//! Components by the type names of the configuration.

use config::{ComponentId, Section};
use otlp::Signal;

use crate::authentication::Authenticators;
use crate::connector::Connector;
use crate::exporter::BuiltExporter;
use crate::extension::Extension;
use crate::processor::BuiltProcessor;
use crate::receiver::Receiver;
use crate::storages::Storages;

/// What a factory knows beside the component's own configuration.
#[derive(Clone, Copy, Debug)]
pub struct BuildContext<'a> {
    /// The component's id.
    pub id: &'a ComponentId,
    /// What its `auth` may name. Extensions are built first and find none here.
    pub authenticators: &'a Authenticators,
    /// What the `storage` of a receiver may name. Extensions find none here either.
    pub storages: &'a Storages,
}

impl<'a> BuildContext<'a> {
    /// Of a component beside no extension.
    pub fn alone(id: &'a ComponentId) -> BuildContext<'a> {
        static NOBODY: Authenticators = Authenticators::none();
        static NOWHERE: Storages = Storages::none();
        BuildContext { id, authenticators: &NOBODY, storages: &NOWHERE }
    }
}

macro_rules! factory {
    ($(#[$meta:meta])* $name:ident builds $built:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            /// The type name, as the newest Collector writes it or as most configurations do.
            pub kind: &'static str,
            /// Other type names for the same component.
            pub aliases: &'static [&'static str],
            /// The signals it carries.
            pub signals: &'static [Signal],
            /// Reads the configuration. `None`: the section has said what is wrong.
            pub build: fn(&mut Section<'_>, &BuildContext<'_>) -> Option<$built>,
        }

        impl $name {
            fn is_named(&self, kind: &str) -> bool {
                self.kind == kind || self.aliases.contains(&kind)
            }
        }
    };
}

factory!(/// Makes receivers of one type.
    ReceiverFactory builds Box<dyn Receiver>);
factory!(/// Makes processors of one type.
    ProcessorFactory builds BuiltProcessor);
factory!(/// Makes exporters of one type.
    ExporterFactory builds BuiltExporter);
factory!(/// Makes connectors of one type.
    ConnectorFactory builds Box<dyn Connector>);
factory!(/// Makes extensions of one type; their signals are of no meaning.
    ExtensionFactory builds Box<dyn Extension>);

/// A component that exists elsewhere and is known here by name, so that an error can say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// `receiver`, `processor`, `exporter`, `connector` or `extension`.
    pub role: &'static str,
    /// The type name.
    pub kind: &'static str,
}

/// Every component that a configuration may name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Receivers.
    pub receivers: Vec<ReceiverFactory>,
    /// Processors.
    pub processors: Vec<ProcessorFactory>,
    /// Exporters.
    pub exporters: Vec<ExporterFactory>,
    /// Connectors.
    pub connectors: Vec<ConnectorFactory>,
    /// Extensions.
    pub extensions: Vec<ExtensionFactory>,
    /// Known by name only.
    pub unbuilt: Vec<Unbuilt>,
}

impl Registry {
    /// The receiver of this type.
    pub fn receiver(&self, kind: &str) -> Option<&ReceiverFactory> {
        self.receivers.iter().find(|factory| factory.is_named(kind))
    }

    /// The processor of this type.
    pub fn processor(&self, kind: &str) -> Option<&ProcessorFactory> {
        self.processors.iter().find(|factory| factory.is_named(kind))
    }

    /// The exporter of this type.
    pub fn exporter(&self, kind: &str) -> Option<&ExporterFactory> {
        self.exporters.iter().find(|factory| factory.is_named(kind))
    }

    /// The connector of this type.
    pub fn connector(&self, kind: &str) -> Option<&ConnectorFactory> {
        self.connectors.iter().find(|factory| factory.is_named(kind))
    }

    /// The extension of this type.
    pub fn extension(&self, kind: &str) -> Option<&ExtensionFactory> {
        self.extensions.iter().find(|factory| factory.is_named(kind))
    }

    /// The type names of one role, for messages.
    pub fn kinds(&self, role: &str) -> Vec<&'static str> {
        match role {
            "receiver" => self.receivers.iter().map(|factory| factory.kind).collect(),
            "processor" => self.processors.iter().map(|factory| factory.kind).collect(),
            "exporter" => self.exporters.iter().map(|factory| factory.kind).collect(),
            "connector" => self.connectors.iter().map(|factory| factory.kind).collect(),
            _ => self.extensions.iter().map(|factory| factory.kind).collect(),
        }
    }

    /// Whether the Collector has such a component and this process does not.
    pub fn is_unbuilt(&self, role: &str, kind: &str) -> bool {
        self.unbuilt.iter().any(|unbuilt| unbuilt.role == role && unbuilt.kind == kind)
    }
}
