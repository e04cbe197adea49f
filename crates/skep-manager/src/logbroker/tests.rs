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
    subscription
        .deliver("n1", line("n1", "hello"))
        .await
        .unwrap();
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
    subscription
        .deliver("n1", line("n1", "hello"))
        .await
        .unwrap();
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

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_does_not_hold_up_the_end() {
    let store = store(vec![task("t1", "n1", TaskState::Running)]).await;
    let broker = LogBroker::new(store);
    let (_, mut one) = broker.listen("n1").unwrap();
    let mut logs = broker.subscribe(service(), FOLLOW).unwrap();
    let asked = one.recv().await.unwrap().id;
    let subscription = broker.find(&asked, "n1").unwrap();
    let publishing =
        tokio::spawn(
            async move { while subscription.deliver("n1", line("n1", "x")).await.is_ok() {} },
        );
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!publishing.is_finished(), "nobody reads");
    broker.stop().await;
    publishing.await.unwrap();
    // What had come by then can still be read.
    assert!(logs.recv().await.unwrap().is_ok());
}

#[tokio::test]
async fn one_who_reads_hears_of_the_end() {
    let broker = LogBroker::new(store(vec![]).await);
    let mut logs = broker.subscribe(service(), FOLLOW).unwrap();
    broker.stop().await;
    let end = logs.recv().await.unwrap().unwrap_err();
    assert_eq!(end.message(), "log broker is stopped");
}

fn dated(seconds: i64) -> SubscribeLogsMessage {
    let mut message = line("n1", "x");
    let line = &mut message.messages[0];
    line.context.get_or_insert_default().task_id = "t1".to_owned();
    line.timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 });
    message
}

#[tokio::test]
async fn a_node_that_listens_again_goes_on_where_it_was() {
    let broker = LogBroker::new(store(vec![task("t1", "n1", TaskState::Running)]).await);
    let (_, mut one) = broker.listen("n1").unwrap();
    let mut logs = broker.subscribe(service(), FOLLOW).unwrap();
    let asked = one.recv().await.unwrap().id;
    let subscription = broker.find(&asked, "n1").unwrap();
    for time in [1, 2] {
        subscription.deliver("n1", dated(time)).await.unwrap();
    }
    let (_, mut again) = broker.listen("n1").unwrap();
    let options = again.recv().await.unwrap().options.unwrap();
    assert_eq!(options.since.map(|since| since.seconds), Some(2));
    for time in [2, 3] {
        subscription.deliver("n1", dated(time)).await.unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        let message = logs.recv().await.unwrap().unwrap();
        times.extend(
            message
                .messages
                .iter()
                .map(|line| line.timestamp.unwrap().seconds),
        );
    }
    assert_eq!(times, [1, 2, 3]);
    broker.stop().await;
}

#[tokio::test]
async fn lines_count_as_their_nodes_own_as_far_as_anybody_knows() {
    let tasks = ["t1", "t2"].map(|id| task(id, "n1", TaskState::Running));
    let store = store(tasks.into()).await;
    let broker = LogBroker::new(store.clone());
    let selector = LogSelector {
        task_ids: vec!["asked".to_owned()],
        ..service()
    };
    let _logs = broker.subscribe(selector, FOLLOW).unwrap();
    let (_, mut one) = broker.listen("n1").unwrap();
    let asked = one.recv().await.unwrap().id;
    let subscription = broker.find(&asked, "n1").unwrap();
    store.update(|tx| tx.remove_task("t2")).await.unwrap();
    tokio::task::yield_now().await;
    let is_own = |node: &str, task: &str, service: &str| {
        let context = LogContext {
            node_id: "n1".to_owned(),
            task_id: task.to_owned(),
            service_id: service.to_owned(),
        };
        broker.is_own(node, &subscription, &context).ok()
    };
    assert_eq!(is_own("n1", "t1", "s1"), Some(true));
    assert_eq!(is_own("n1", "t2", "s1"), Some(true), "deleted a moment ago");
    assert_eq!(is_own("n1", "t2", "other"), None);
    assert_eq!(is_own("n2", "t1", "s1"), None);
    assert_eq!(is_own("n1", "invented", "s1"), Some(false));
    assert_eq!(is_own("n1", "asked", "s1"), Some(true));
    broker.stop().await;
}
