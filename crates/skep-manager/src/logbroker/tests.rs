use skep_objects::swarmkit::{
    LogContext, LogMessage, LogSelector, LogSubscriptionOptions, Node, SubscribeLogsMessage, Task,
    TaskState, TaskStatus, node_status,
};
use skep_store::Store;

use super::{
    LogBroker,
    selection::{Selection, select},
};

fn task(id: &str, node: &str, state: TaskState) -> Task {
    Task {
        id: id.to_owned(),
        service_id: "s1".into(),
        node_id: node.into(),
        status: Some(TaskStatus {
            state: state.into(),
            ..Default::default()
        }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

async fn store(tasks: Vec<Task>) -> Store {
    let store = Store::in_memory();
    for id in ["n1", "n2", "n3"] {
        let node = Node {
            id: id.to_owned(),
            ..Node::default()
        };
        store.update(|tx| tx.create_node(node)).await.unwrap();
    }
    for task in tasks {
        store.update(|tx| tx.create_task(task)).await.unwrap();
    }
    store
}

fn service() -> LogSelector {
    LogSelector {
        service_ids: vec!["s1".to_owned()],
        ..Default::default()
    }
}

fn line(node: &str, text: &str) -> SubscribeLogsMessage {
    let context = LogContext {
        node_id: node.to_owned(),
        ..Default::default()
    };
    let message = LogMessage {
        context: Some(context),
        data: text.into(),
        ..Default::default()
    };
    SubscribeLogsMessage {
        messages: vec![message],
    }
}

const FOLLOW: LogSubscriptionOptions = LogSubscriptionOptions {
    streams: vec![],
    follow: true,
    tail: 0,
    since: None,
};

#[tokio::test]
async fn nodes_with_tasks_that_have_run_are_asked() {
    let store = store(vec![
        task("t1", "n1", TaskState::Running),
        task("t2", "n2", TaskState::Failed),
        task("t3", "n3", TaskState::Preparing),
        task("t4", "", TaskState::Pending),
    ])
    .await;
    let nodes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let unscheduled = vec!["t4".to_owned()];
    let view = store.view();
    let expect = Selection {
        nodes: nodes(&["n1", "n2"]),
        unscheduled: unscheduled.clone(),
    };
    assert_eq!(select(&view, &service(), false), expect);
    let expect = Selection {
        nodes: nodes(&["n1", "n2", "n3"]),
        unscheduled,
    };
    assert_eq!(select(&view, &service(), true), expect);
}

#[tokio::test]
async fn a_subscription_ends_when_all_its_nodes_have_said_all() {
    let store = store(vec![
        task("t1", "n1", TaskState::Running),
        task("t2", "n2", TaskState::Running),
    ])
    .await;
    let broker = LogBroker::new(store);
    let (_, mut one) = broker.listen("n1").unwrap();
    let (_, mut two) = broker.listen("n2").unwrap();
    let mut logs = broker
        .subscribe(service(), LogSubscriptionOptions::default())
        .unwrap();
    let (first, second) = (one.recv().await.unwrap(), two.recv().await.unwrap());
    assert_eq!(first.id, second.id);
    let subscription = broker.find(&first.id, "n1").unwrap();
    subscription.deliver(line("n1", "hello")).await.unwrap();
    subscription.done("n1", None);
    assert_eq!(logs.recv().await.unwrap().unwrap(), line("n1", "hello"));
    subscription.done("n2", None);
    drop(subscription);
    assert!(logs.recv().await.is_none());
    assert!(one.recv().await.unwrap().close);
}

#[tokio::test]
async fn nodes_and_tasks_that_cannot_be_asked_are_named() {
    let store = store(vec![
        task("t1", "n1", TaskState::Running),
        task("t2", "", TaskState::Pending),
    ])
    .await;
    let broker = LogBroker::new(store);
    let mut logs = broker
        .subscribe(service(), LogSubscriptionOptions::default())
        .unwrap();
    let problem = logs.recv().await.unwrap().unwrap_err();
    assert_eq!(
        problem.message(),
        "warning: incomplete log stream. some logs could not be retrieved for the following \
         reasons: task t2 has not been scheduled, node n1 is not available"
    );
}

#[tokio::test]
async fn a_node_that_goes_away_does_not_hold_up_the_others() {
    let broker = LogBroker::new(store(vec![task("t1", "n1", TaskState::Running)]).await);
    let (number, mut one) = broker.listen("n1").unwrap();
    let mut logs = broker
        .subscribe(service(), LogSubscriptionOptions::default())
        .unwrap();
    one.recv().await.unwrap();
    broker.unlisten("n1", number);
    let problem = logs.recv().await.unwrap().unwrap_err();
    assert!(
        problem
            .message()
            .ends_with("node n1 disconnected unexpectedly"),
        "{problem}"
    );
}

#[tokio::test]
async fn followers_hear_of_new_tasks_and_of_nodes_that_come_back() {
    let store = store(vec![]).await;
    let broker = LogBroker::new(store.clone());
    let (number, mut one) = broker.listen("n1").unwrap();
    let logs = broker.subscribe(service(), FOLLOW).unwrap();
    let (_, mut other) = broker.listen("n2").unwrap();
    tokio::task::yield_now().await;
    store
        .update(|tx| tx.create_task(task("t1", "n1", TaskState::Assigned)))
        .await
        .unwrap();
    let asked = one.recv().await.unwrap();
    broker.unlisten("n1", number);
    let (_, mut again) = broker.listen("n1").unwrap();
    assert_eq!(again.recv().await.unwrap().id, asked.id);
    drop(logs);
    assert!(again.recv().await.unwrap().close);
    assert!(other.try_recv().is_err());
    broker.stop().await;
}

#[tokio::test]
async fn nothing_selected_is_refused() {
    let broker = LogBroker::new(store(vec![]).await);
    let error = broker
        .subscribe(LogSelector::default(), FOLLOW)
        .unwrap_err();
    assert_eq!(error.message(), "log selector must be provided");
}

async fn go_down(store: &Store, node: &str) {
    let down = |node: &mut Node| {
        node.status.get_or_insert_default().state = node_status::State::Down.into();
    };
    store.update(|tx| tx.edit_node(node, down)).await.unwrap();
}

#[tokio::test]
async fn a_lost_node_is_named_though_it_seems_to_be_connected() {
    let tasks = vec![
        task("t1", "n1", TaskState::Running),
        task("t2", "n2", TaskState::Running),
    ];
    let store = store(tasks).await;
    let broker = LogBroker::new(store.clone());
    let (_, mut one) = broker.listen("n1").unwrap();
    let (_, _two) = broker.listen("n2").unwrap();
    let options = LogSubscriptionOptions::default;
    // Asked already when it is lost.
    let mut logs = broker.subscribe(service(), options()).unwrap();
    let asked = one.recv().await.unwrap().id;
    broker.find(&asked, "n1").unwrap().done("n1", None);
    go_down(&store, "n2").await;
    let problem = logs.recv().await.unwrap().unwrap_err();
    let expect = "node n2 is not available";
    assert!(problem.message().ends_with(expect), "{problem}");
    // Lost before it could be asked; the other's lines come all the same.
    let mut logs = broker.subscribe(service(), options()).unwrap();
    let asked = loop {
        let message = one.recv().await.unwrap();
        if !message.close {
            break message.id;
        }
    };
    let subscription = broker.find(&asked, "n1").unwrap();
    subscription.deliver(line("n1", "hello")).await.unwrap();
    subscription.done("n1", None);
    drop(subscription);
    assert_eq!(logs.recv().await.unwrap().unwrap(), line("n1", "hello"));
    let problem = logs.recv().await.unwrap().unwrap_err();
    assert!(problem.message().ends_with(expect), "{problem}");
    broker.stop().await;
}

#[tokio::test]
async fn a_removed_node_hears_no_more() {
    let store = store(vec![]).await;
    let broker = LogBroker::new(store.clone());
    let (_, mut one) = broker.listen("n1").unwrap();
    store.update(|tx| tx.remove_node("n1")).await.unwrap();
    assert!(one.recv().await.is_none());
    let refused = broker.listen("n1").unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    broker.stop().await;
}
