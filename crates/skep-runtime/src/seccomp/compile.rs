//! From a profile to the kernel's instructions.
//!
//! The program looks at the architecture, then finds the system call's number by bisection, so that a
//! call costs a dozen instructions however long the profile is. (The kernel also keeps a bitmap of
//! numbers that are always allowed, and skips the program for those.)

use std::collections::BTreeMap;

use super::profile::{Action, Compare, Condition, ENOSYS, EPERM, Profile, Rule};
use crate::sys::privilege::Instruction;

/// Numbers by name for one architecture.
type Numbers = BTreeMap<&'static str, u32>;

const TABLE: &str = include_str!("syscalls.txt");

#[cfg(target_arch = "x86_64")]
const NATIVE: (u32, usize) = (0xc000_003e, 1);
#[cfg(target_arch = "aarch64")]
const NATIVE: (u32, usize) = (0xc000_00b7, 3);
/// The 32-bit architecture beside the native one, and its column of the table.
#[cfg(target_arch = "x86_64")]
const COMPAT: Option<(u32, usize)> = Some((0x4000_0003, 2));
#[cfg(target_arch = "aarch64")]
const COMPAT: Option<(u32, usize)> = None;
/// Numbers from here on are x32's, which nobody has.
const X32_BIT: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has things.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `SECCOMP_RET_USER_NOTIF`.
const NOTIFY: u32 = 0x7fc0_0000;

/// Whether a program ever asks somebody outside.
pub(super) fn notifies(program: &[Instruction]) -> bool {
    program.contains(&op(RETURN, NOTIFY))
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn give(action: Action) -> Instruction {
    op(
        RETURN,
        match action {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(n) => 0x0005_0000 | u32::from(n),
            Action::Trace(n) => 0x7ff0_0000 | u32::from(n),
            Action::Log => 0x7ffc_0000,
            Action::Notify => NOTIFY,
            Action::Allow => 0x7fff_0000,
        },
    )
}

fn numbers(column: usize) -> Numbers {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let name = fields.next()?;
            Some((name, fields.nth(column - 1)?.parse().ok()?))
        })
        .collect()
}

/// The whole program.
pub(super) fn compile(profile: &Profile) -> Vec<Instruction> {
    let mut program = vec![op(LOAD, ARCHITECTURE)];
    let native = section(profile, &numbers(NATIVE.1));
    append_architecture(&mut program, NATIVE.0, native);
    if let Some((arch, column)) = COMPAT.filter(|_| profile.allows_compat) {
        let compat = section(profile, &numbers(column));
        append_architecture(&mut program, arch, compat);
    }
    program.push(give(Action::KillProcess));
    program
}

fn append_architecture(program: &mut Vec<Instruction>, arch: u32, section: Vec<Instruction>) {
    program.push(jump(JUMP_EQUAL, arch, 1, 0));
    program.push(op(JUMP, length(&section)));
    program.extend(section);
}

fn length(code: &[Instruction]) -> u32 {
    u32::try_from(code.len()).expect("programs are short")
}

/// What one number, or a run of numbers, comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    first: u32,
    code: Vec<Instruction>,
}

fn section(profile: &Profile, numbers: &Numbers) -> Vec<Instruction> {
    let mut by_number: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for rule in &profile.rules {
        for number in rule
            .names
            .iter()
            .filter_map(|name| numbers.get(name.as_str()))
        {
            by_number.entry(*number).or_default().push(rule);
        }
    }
    // A call that this profile has never heard of does not exist, rather than being forbidden: C
    // libraries try new calls and fall back only when told so.
    let beyond = match profile.default {
        Action::Errno(errno) if errno != ENOSYS => Action::Errno(ENOSYS),
        other => other,
    };
    let known_end = by_number.keys().last().map_or(0, |n| n + 1);
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut add = |first: u32, code: Vec<Instruction>| match leaves.last() {
        Some(last) if last.code == code => {}
        _ => leaves.push(Leaf { first, code }),
    };
    let mut next = 0;
    for (number, rules) in &by_number {
        if *number > next {
            add(next, vec![give(profile.default)]);
        }
        add(*number, decide(rules, profile.default));
        next = number + 1;
    }
    add(known_end, vec![give(beyond)]);
    if cfg!(target_arch = "x86_64") {
        add(X32_BIT, vec![give(Action::Errno(EPERM))]);
    }
    let mut code = vec![op(LOAD, NUMBER)];
    code.extend(bisect(&leaves));
    code
}

/// Conditional rules in order, then the unconditional one or else the default.
fn decide(rules: &[&Rule], default: Action) -> Vec<Instruction> {
    if let Some(rule) = rules.iter().find(|r| r.conditions.is_empty()) {
        return vec![give(rule.action)];
    }
    let mut code: Vec<Instruction> = rules.iter().flat_map(|rule| guarded(rule)).collect();
    code.push(give(default));
    code
}

fn bisect(leaves: &[Leaf]) -> Vec<Instruction> {
    let [first, ..] = leaves else {
        return Vec::new();
    };
    if leaves.len() == 1 {
        return first.code.clone();
    }
    let (low, high) = leaves.split_at(leaves.len() / 2);
    let boundary = high[0].first;
    let (low, high) = (bisect(low), bisect(high));
    let mut code = match u8::try_from(low.len()) {
        Ok(distance) => vec![jump(JUMP_GREATER_OR_EQUAL, boundary, distance, 0)],
        Err(_) => vec![
            jump(JUMP_GREATER_OR_EQUAL, boundary, 0, 1),
            op(JUMP, length(&low)),
        ],
    };
    code.extend(low);
    code.extend(high);
    code
}

/// Where a comparison goes on.
#[derive(Debug, Clone, Copy)]
enum To {
    Next,
    Pass,
    Fail,
}

struct Step(Instruction, To, To);

/// The tests of a rule, then its verdict; falls out at the end when a test fails.
fn guarded(rule: &Rule) -> Vec<Instruction> {
    let tests: Vec<Vec<Step>> = rule.conditions.iter().map(compare).collect();
    let total: usize = tests.iter().map(Vec::len).sum();
    let mut code: Vec<Instruction> = Vec::new();
    let mut end_of_test = 0;
    for test in tests {
        end_of_test += test.len();
        for Step(mut instruction, yes, no) in test {
            let after = code.len() + 1;
            let distance = |to| {
                let target = match to {
                    To::Next => after,
                    To::Pass => end_of_test,
                    To::Fail => total + 1,
                };
                u8::try_from(target - after).expect("six comparisons are short")
            };
            (instruction.jt, instruction.jf) = (distance(yes), distance(no));
            code.push(instruction);
        }
    }
    code.push(give(rule.action));
    code
}

/// A comparison of 64 bits by two halves of 32.
#[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
fn compare(condition: &Condition) -> Vec<Step> {
    use To::{Fail, Next, Pass};
    let low_at = ARGUMENTS + 8 * condition.argument;
    let halves = |v: u64| ((v >> 32) as u32, v as u32);
    let (high, low) = halves(condition.value);
    let load = |at| Step(op(LOAD, at), Next, Next);
    let test = |code, k, yes, no| Step(op(code, k), yes, no);
    let equal = |yes, no| {
        vec![
            load(low_at + 4),
            test(JUMP_EQUAL, high, Next, no),
            load(low_at),
            test(JUMP_EQUAL, low, yes, no),
        ]
    };
    let ordered = |code, yes, no| {
        vec![
            load(low_at + 4),
            test(JUMP_GREATER, high, yes, Next),
            test(JUMP_EQUAL, high, Next, no),
            load(low_at),
            test(code, low, yes, no),
        ]
    };
    match condition.compare {
        Compare::Equal => equal(Pass, Fail),
        Compare::NotEqual => equal(Fail, Pass),
        Compare::GreaterOrEqual => ordered(JUMP_GREATER_OR_EQUAL, Pass, Fail),
        Compare::Less => ordered(JUMP_GREATER_OR_EQUAL, Fail, Pass),
        Compare::Greater => ordered(JUMP_GREATER, Pass, Fail),
        Compare::LessOrEqual => ordered(JUMP_GREATER, Fail, Pass),
        Compare::MaskedEqual => {
            let (rest_high, rest_low) = halves(condition.value_two & condition.value);
            vec![
                load(low_at + 4),
                test(AND, high, Next, Next),
                test(JUMP_EQUAL, rest_high, Next, Fail),
                load(low_at),
                test(AND, low, Next, Next),
                test(JUMP_EQUAL, rest_low, Pass, Fail),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = [0u32; 16];
        (data[0], data[1]) = (number, arch);
        for (i, arg) in args.iter().enumerate() {
            data[4 + 2 * i] = (arg & 0xffff_ffff) as u32;
            data[5 + 2 * i] = (arg >> 32) as u32;
        }
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = program[at];
            at += 1;
            let skip = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
            match i.code {
                LOAD => a = data[i.k as usize / 4],
                AND => a &= i.k,
                JUMP => at += i.k as usize,
                JUMP_EQUAL => at += skip(a == i.k),
                JUMP_GREATER => at += skip(a > i.k),
                JUMP_GREATER_OR_EQUAL => at += skip(a >= i.k),
                RETURN => return i.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const ALLOW: u32 = 0x7fff_0000;
    const fn errno(n: u32) -> u32 {
        0x0005_0000 | n
    }

    fn native(program: &[Instruction], name: &str, args: [u64; 6]) -> u32 {
        run(program, NATIVE.0, numbers(NATIVE.1)[name], args)
    }

    #[test]
    fn the_default_profile_decides_as_dockers() {
        let program = compile(&Profile::docker_default(&["CAP_CHOWN"]));
        assert!(program.len() < 4096, "{} instructions", program.len());
        let no = [0; 6];
        assert_eq!(native(&program, "read", no), ALLOW);
        assert_eq!(native(&program, "mount", no), errno(1));
        assert_eq!(native(&program, "clone3", no), errno(38));
        assert_eq!(native(&program, "clone", [0x11, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(
            native(&program, "clone", [0x1000_0011, 0, 0, 0, 0, 0]),
            errno(1),
            "CLONE_NEWUSER"
        );
        assert_eq!(native(&program, "socket", [2, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(native(&program, "socket", [40, 0, 0, 0, 0, 0]), errno(1));
        assert_eq!(native(&program, "personality", [8, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(
            native(&program, "personality", [9, 0, 0, 0, 0, 0]),
            errno(1)
        );
        assert_eq!(
            native(&program, "personality", [1 << 32, 0, 0, 0, 0, 0]),
            errno(1)
        );
        assert_eq!(
            run(&program, NATIVE.0, 9999, no),
            errno(38),
            "a call of the future"
        );
        assert_eq!(
            run(&program, 0x1234, 0, no),
            0x8000_0000,
            "another architecture"
        );
    }

    #[test]
    fn capabilities_open_what_belongs_to_them() {
        let program = compile(&Profile::docker_default(&["CAP_SYS_ADMIN"]));
        assert_eq!(native(&program, "mount", [0; 6]), ALLOW);
        assert_eq!(native(&program, "clone3", [0; 6]), ALLOW);
        assert_eq!(
            native(&program, "clone", [0x1000_0000, 0, 0, 0, 0, 0]),
            ALLOW
        );
        assert_eq!(native(&program, "reboot", [0; 6]), errno(1));
    }

    #[test]
    fn every_call_of_every_architecture_is_decided_as_its_rule_says() {
        let profile = Profile::docker_default(&[]);
        let program = compile(&profile);
        let plain: Vec<&String> = profile.rules[0].names.iter().collect();
        for (arch, column) in [Some(NATIVE), COMPAT].into_iter().flatten() {
            for (name, number) in numbers(column) {
                let got = run(&program, arch, number, [0; 6]);
                if plain.iter().any(|n| *n == name) {
                    assert_eq!(got, ALLOW, "{name}");
                } else if !["socket", "personality", "clone", "clone3"].contains(&name) {
                    assert!(got == errno(1) || got == errno(38), "{name}: {got:#x}");
                }
            }
        }
    }

    fn check(op: &str, value: u64, two: u64, argument: u64, expect: bool) {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",
                "args":[{{"index":2,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}]}}]}}"#
        );
        let program = compile(&Profile::parse(json.as_bytes(), &[]).unwrap());
        let got = native(&program, "read", [0, 0, argument, 0, 0, 0]);
        assert_eq!(
            got == ALLOW,
            expect,
            "{op} {value:#x}/{two:#x} of {argument:#x}"
        );
    }

    #[test]
    fn arguments_are_compared_in_64_bits() {
        let big = 0x1_0000_0005;
        for (argument, less, equal) in [
            (5, true, false),
            (big - 1, true, false),
            (big, false, true),
            (big + 1, false, false),
        ] {
            check("EQ", big, 0, argument, equal);
            check("NE", big, 0, argument, !equal);
            check("LT", big, 0, argument, less);
            check("LE", big, 0, argument, less || equal);
            check("GT", big, 0, argument, !less && !equal);
            check("GE", big, 0, argument, !less);
        }
        check(
            "MASKED_EQ",
            0xff00_0000_00ff,
            0x1200_0000_0034,
            0x12ab_0000_cd34,
            true,
        );
        check(
            "MASKED_EQ",
            0xff00_0000_00ff,
            0x1200_0000_0034,
            0x13ab_0000_cd34,
            false,
        );
    }

    #[test]
    fn a_bad_profile_is_refused_by_name() {
        let bad = |json: &str| {
            Profile::parse(json.as_bytes(), &[])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            bad(r#"{"defaultAction":"NONSENSE"}"#),
            "Decoding seccomp profile failed: invalid seccomp action NONSENSE"
        );
        assert!(bad("{").starts_with("Decoding seccomp profile failed: "));
    }
}
