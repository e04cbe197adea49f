use super::*;
use crate::output::seen::Seen;

fn task(slot: u64, node: &str, state: &str, desired: &str) -> Value {
    json!({
        "Slot": slot, "NodeID": node, "DesiredState": desired, "Status": {"State": state},
        "JobIteration": {"Index": 7},
    })
}

fn failed(slot: u64) -> Value {
    let mut task = task(slot, "n1", "failed", "shutdown");
    task["Status"]["Err"] = "task: non-zero exit (1)".into();
    task
}

/// What looks at a service of this mode print on a pipe, one after the other, and whether it is done.
fn looks(mode: Value, looks: &[&[Value]]) -> Vec<(String, bool)> {
    let service = json!({"Spec": {"Mode": mode}, "JobStatus": {"JobIteration": {"Index": 7}}, "UpdateStatus": {}});
    let seen = Seen::default();
    let mut follower = Follower {
        lines: seen.messages(None),
        mode: None,
        converged: None,
        rolls_back: false,
        end: None,
    };
    let nodes = BTreeSet::from(["n1".to_owned(), "n2".to_owned()]);
    looks
        .iter()
        .map(|tasks| {
            let done = follower.update(&service, tasks, &nodes);
            (seen.take().replace('\n', "|"), done)
        })
        .collect()
}

fn check(mode: Value, tasks: &[&[Value]], expected: &[(&str, bool)]) {
    let shown = looks(mode, tasks);
    let shown: Vec<_> = shown.iter().map(|(t, done)| (t.as_str(), *done)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn replicas_count_when_they_run_where_nodes_are_up() {
    let begun = [
        task(1, "n1", "running", "running"),
        task(2, "n2", "starting", "running"),
    ];
    // Of a slot's tasks the one counts that is to run; one on a lost node is none.
    let later = [
        failed(1),
        task(1, "n1", "running", "running"),
        task(2, "gone", "running", "running"),
        task(2, "n2", "running", "running"),
        task(3, "n2", "running", "remove"),
    ];
    check(
        json!({"Replicated": {"Replicas": 2}}),
        &[&begun, &[failed(1)], &later, &later],
        &[
            (
                "overall progress: 0 out of 2 tasks|1/2:  |2/2:  |overall progress: 1 out of 2 tasks|",
                false,
            ),
            (
                "1/2: task: non-zero exit (1)|overall progress: 0 out of 2 tasks|",
                false,
            ),
            ("overall progress: 2 out of 2 tasks|", true),
            ("", true),
        ],
    );
}

#[test]
fn a_global_service_has_a_task_on_each_node_that_is_fit() {
    check(
        json!({"Global": {}}),
        &[
            &[],
            &[
                task(0, "n1", "running", "running"),
                task(0, "n2", "ready", "running"),
            ],
            &[task(0, "n1", "running", "running")],
        ],
        &[
            ("overall progress: waiting for new tasks|", false),
            (
                "overall progress: 0 out of 2 tasks|overall progress: 1 out of 2 tasks|",
                false,
            ),
            ("overall progress: 1 out of 1 tasks|", true),
        ],
    );
}

#[test]
fn jobs_count_completions_and_what_is_active() {
    let mut older = task(2, "n1", "complete", "complete");
    older["JobIteration"]["Index"] = 6.into();
    let begun = [
        task(0, "n1", "complete", "complete"),
        task(1, "n1", "running", "complete"),
        older,
    ];
    let ended = [0, 1, 2].map(|slot| task(slot, "n1", "complete", "complete"));
    check(
        json!({"ReplicatedJob": {"TotalCompletions": 3, "MaxConcurrent": 2}}),
        &[&begun, &ended],
        &[
            (
                "active tasks: 0 out of 2 tasks|1/3:  |2/3:  |3/3:  |active tasks: 1 out of 2 tasks|",
                false,
            ),
            ("active tasks: 0 out of 0 tasks|", true),
        ],
    );
}

#[test]
fn a_global_job_completes_on_the_nodes_that_it_began_on() {
    let ended = [
        task(0, "n1", "complete", "complete"),
        task(0, "n2", "complete", "complete"),
    ];
    let mut failing = ended.clone();
    failing[1]["Status"] = json!({"State": "failed", "Err": "no\nway"});
    check(
        json!({"GlobalJob": {}}),
        &[&[], &failing, &ended],
        &[("", false), ("n2: no way|", false), ("", true)],
    );
}
