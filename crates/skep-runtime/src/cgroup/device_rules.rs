//! Which device nodes a container may use: lines for version 1, a small program for version 2.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::CgroupError;

/// One rule with its defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// `a`, `b` or `c`.
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    /// Bits: 1 mknod, 2 read, 4 write (the kernel's numbers).
    access: u8,
}

/// Nodes that every container has, beside the right to make (not to use) any node: type, major, minor.
const ALWAYS: [(char, Option<u32>, Option<u32>); 12] = [
    ('c', None, None),
    ('b', None, None),
    ('c', Some(1), Some(3)),
    ('c', Some(1), Some(5)),
    ('c', Some(1), Some(7)),
    ('c', Some(1), Some(8)),
    ('c', Some(1), Some(9)),
    ('c', Some(5), Some(0)),
    ('c', Some(5), Some(1)),
    ('c', Some(5), Some(2)),
    ('c', Some(10), Some(200)),
    ('c', Some(136), None),
];

/// The rules as asked, and those which the default devices need, as runc adds them too.
fn rules(list: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, CgroupError> {
    let mut rules = list.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    // A container that may use everything needs no more.
    if rules.last().is_some_and(|r| r.allow && r.kind == 'a') {
        return Ok(rules);
    }
    for (kind, major, minor) in ALWAYS {
        let access = if major.is_none() { 1 } else { 7 };
        let rule = Rule {
            allow: true,
            kind,
            major,
            minor,
            access,
        };
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn rule(rule: &LinuxDeviceCgroup) -> Result<Rule, CgroupError> {
    let number = |n: Option<i64>| match n {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| CgroupError::Invalid(format!("device number {n} is out of range"))),
    };
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => 'a',
        Some(LinuxDeviceType::B) => 'b',
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => 'c',
        Some(LinuxDeviceType::P) => {
            return Err(CgroupError::Invalid(
                "a FIFO is not subject to device rules".into(),
            ));
        }
    };
    let mut access = 0;
    for letter in rule
        .access()
        .as_deref()
        .filter(|a| !a.is_empty())
        .unwrap_or("rwm")
        .chars()
    {
        access |= match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            other => {
                return Err(CgroupError::Invalid(format!(
                    "unknown device access {other:?}"
                )));
            }
        };
    }
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access,
    })
}

/// File and line for each rule, in order.
pub(super) fn v1_lines(
    list: &[LinuxDeviceCgroup],
) -> Result<Vec<(&'static str, String)>, CgroupError> {
    let text = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
    Ok(rules(list)?
        .into_iter()
        .map(|rule| {
            let file = if rule.allow {
                "devices.allow"
            } else {
                "devices.deny"
            };
            let access: String = [(2, 'r'), (4, 'w'), (1, 'm')]
                .iter()
                .filter(|(bit, _)| rule.access & bit != 0)
                .map(|(_, c)| c)
                .collect();
            let line = match rule {
                Rule {
                    kind: 'a',
                    major: None,
                    minor: None,
                    access: 7,
                    ..
                } => "a".into(),
                _ => format!(
                    "{} {}:{} {access}",
                    rule.kind,
                    text(rule.major),
                    text(rule.minor)
                ),
            };
            (file, line)
        })
        .collect())
}

/// One eBPF instruction.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn insn(code: u8, registers: u8, offset: i16, immediate: i32) -> Insn {
    Insn {
        code,
        registers,
        offset,
        immediate,
    }
}

/// A program that answers 1 (allow) or 0, last matching rule first.
///
/// The context is `{ u32 access_type; u32 major; u32 minor; }`, the type in the low 16 bits of
/// `access_type` (1 block, 2 character) and the access in the high 16.
fn program(rules: &[Rule]) -> Vec<Insn> {
    const LOAD: u8 = 0x61; // r = *(u32 *)(ctx + offset)
    const MOVE: u8 = 0xbf;
    const MOVE_NUMBER: u8 = 0xb7;
    const AND: u8 = 0x57;
    const SHIFT_RIGHT: u8 = 0x77;
    const JUMP_NOT_EQUAL: u8 = 0x55;
    const EXIT: u8 = 0x95;
    // r2 type, r3 access, r4 major, r5 minor, r1 the context, then scratch.
    let mut out = vec![
        insn(LOAD, 0x12, 0, 0),
        insn(MOVE, 0x23, 0, 0),
        insn(AND, 0x02, 0, 0xffff),
        insn(SHIFT_RIGHT, 0x03, 0, 16),
        insn(LOAD, 0x14, 4, 0),
        insn(LOAD, 0x15, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        if rule.kind != 'a' {
            tests.push(insn(
                JUMP_NOT_EQUAL,
                0x02,
                0,
                if rule.kind == 'b' { 1 } else { 2 },
            ));
        }
        if rule.access != 7 {
            // An allow rule must cover every asked bit; a deny rule strikes on any.
            let wanted = if rule.allow {
                7 & !rule.access
            } else {
                rule.access
            };
            tests.push(insn(MOVE, 0x31, 0, 0));
            tests.push(insn(AND, 0x01, 0, wanted.into()));
            tests.push(if rule.allow {
                insn(JUMP_NOT_EQUAL, 0x01, 0, 0)
            } else {
                insn(0x15, 0x01, 0, 0)
            });
        }
        let number = |n: u32| i32::from_ne_bytes(n.to_ne_bytes());
        if let Some(major) = rule.major {
            tests.push(insn(JUMP_NOT_EQUAL, 0x04, 0, number(major)));
        }
        if let Some(minor) = rule.minor {
            tests.push(insn(JUMP_NOT_EQUAL, 0x05, 0, number(minor)));
        }
        let length = tests.len();
        for (at, test) in tests.iter_mut().enumerate() {
            if test.code == JUMP_NOT_EQUAL || test.code == 0x15 {
                // Past the other tests and the two instructions of the verdict.
                test.offset = i16::try_from(length - at - 1 + 2).expect("at most five tests");
            }
        }
        out.append(&mut tests);
        out.push(insn(MOVE_NUMBER, 0x00, 0, rule.allow.into()));
        out.push(insn(EXIT, 0, 0, 0));
        if length == 0 {
            // Everything before it is unreachable, which the verifier refuses.
            return out;
        }
    }
    out.push(insn(MOVE_NUMBER, 0x00, 0, 0));
    out.push(insn(EXIT, 0, 0, 0));
    out
}

/// Loads the program for `list` and puts it on the version 2 cgroup `dir`, in place of our last one.
pub(super) fn attach_v2(dir: &Path, list: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    let fail = |source| CgroupError::DeviceFilter {
        path: dir.into(),
        source,
    };
    let program = program(&rules(list)?);
    let cgroup = std::fs::File::open(dir).map_err(fail)?;
    let loaded = load(&program).map_err(fail)?;
    attach(&cgroup, &loaded).map_err(fail)
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: attr is the prefix of `union bpf_attr` for this command, as long as said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn load(program: &[Insn]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    let attr = Attr {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &attr)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    // SAFETY: the kernel gave us this new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(cgroup: &std::fs::File, program: &OwnedFd) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        target: u32,
        program: u32,
        attach_type: u32,
        flags: u32,
    }
    // Exclusive (flags 0): attaching again takes the place of the one before.
    bpf(
        BPF_PROG_ATTACH,
        &Attr {
            target: cgroup.as_raw_fd().cast_unsigned(),
            program: program.as_raw_fd().cast_unsigned(),
            attach_type: BPF_CGROUP_DEVICE,
            flags: 0,
        },
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(json: &str) -> LinuxDeviceCgroup {
        serde_json::from_str(json).unwrap()
    }

    fn sample() -> Vec<LinuxDeviceCgroup> {
        vec![
            device(r#"{"allow":false,"access":"rwm"}"#),
            device(r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}"#),
            device(r#"{"allow":true,"type":"b","major":8,"access":"r"}"#),
            device(r#"{"allow":true,"type":"c","access":"m"}"#),
        ]
    }

    #[test]
    fn version_1_gets_a_line_a_rule() {
        let lines = v1_lines(&sample()).unwrap();
        let want = [
            ("devices.deny", "a"),
            ("devices.allow", "c 1:3 rwm"),
            ("devices.allow", "b 8:* r"),
            ("devices.allow", "c *:* m"),
        ];
        assert_eq!(lines[..4], want.map(|(f, l)| (f, l.to_owned())));
        assert!(
            lines.contains(&("devices.allow", "c 136:* rwm".into())),
            "the default devices too"
        );
        assert_eq!(lines.iter().filter(|(_, l)| l == "c 1:3 rwm").count(), 1);
    }

    /// Runs the program as the kernel would.
    fn run(program: &[Insn], access: u32, kind: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut r = [0u64; 6];
        let mut at = 0usize;
        loop {
            let i = program[at];
            let (dst, src) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let imm = i64::from(i.immediate) as u64;
            at += 1;
            match i.code {
                0x61 => r[dst] = context[usize::try_from(i.offset).unwrap() / 4].into(),
                0xbf => r[dst] = r[src],
                0xb7 => r[dst] = imm,
                0x57 => r[dst] &= imm,
                0x77 => r[dst] >>= imm,
                0x55 if r[dst] != imm => at += usize::try_from(i.offset).unwrap(),
                0x15 if r[dst] == imm => at += usize::try_from(i.offset).unwrap(),
                0x55 | 0x15 => {}
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let program = program(&rules(&sample()).unwrap());
        let (block, char) = (1, 2);
        assert!(run(&program, 2, char, 1, 3), "read null");
        assert!(run(&program, 7, char, 1, 3), "all of null");
        assert!(run(&program, 2, char, 1, 5), "read zero, a default device");
        assert!(!run(&program, 2, char, 10, 1), "read a mouse");
        assert!(
            run(&program, 1, char, 9, 9),
            "mknod of any character device"
        );
        assert!(run(&program, 2, block, 8, 1), "read a disk");
        assert!(!run(&program, 6, block, 8, 1), "write a disk");
    }

    #[test]
    fn the_kernel_takes_the_program() {
        load(&program(&rules(&sample()).unwrap())).expect("needs root: the verifier accepts it");
    }
}
