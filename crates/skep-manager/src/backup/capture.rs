//! A view as one message.

use skep_objects::swarmkit::StoreSnapshot;
use skep_store::View;

/// Every object of the view.
pub fn capture(view: &View) -> StoreSnapshot {
    StoreSnapshot {
        nodes: view.nodes().map(|o| (**o).clone()).collect(),
        services: view.services().map(|o| (**o).clone()).collect(),
        networks: view.networks().map(|o| (**o).clone()).collect(),
        tasks: view.tasks().map(|o| (**o).clone()).collect(),
        clusters: view.clusters().map(|o| (**o).clone()).collect(),
        secrets: view.secrets().map(|o| (**o).clone()).collect(),
        resources: view.resources().map(|o| (**o).clone()).collect(),
        extensions: view.extensions().map(|o| (**o).clone()).collect(),
        configs: view.configs().map(|o| (**o).clone()).collect(),
        volumes: view.volumes().map(|o| (**o).clone()).collect(),
    }
}
