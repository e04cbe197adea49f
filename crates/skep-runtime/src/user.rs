//! `USER` of an image or `--user`: names and numbers looked up in the root file system's own
//! `/etc/passwd` and `/etc/group`.

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one not among them.
    pub additional_gids: Vec<u32>,
    /// Home directory, `/` where none is known.
    pub home: String,
}

/// A name that the root file system does not know. The texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// A number outside 0 to 2^31 - 1.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

/// Resolves `spec` (`""`, `user`, `uid`, `user:group`, …) and the further groups `groups`
/// against the texts of `/etc/passwd` and `/etc/group`, either of which may be empty.
pub fn resolve(
    spec: &str,
    groups: &[String],
    passwd: &str,
    group: &str,
) -> Result<ResolvedUser, UserError> {
    let (user, primary) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let entry = find_user(user, passwd);
    let uid = match (&entry, user) {
        (Some(e), _) => e.uid,
        (None, "") => 0,
        (None, name) => number(name)?.ok_or_else(|| UserError::User(name.into()))?,
    };
    let mut resolved = ResolvedUser {
        uid,
        gid: entry.as_ref().map_or(0, |e| e.gid),
        additional_gids: Vec::new(),
        home: entry
            .as_ref()
            .map_or_else(|| "/".into(), |e| e.home.to_owned()),
    };
    match primary {
        Some(name) => resolved.gid = find_group(name, group)?,
        // Like initgroups(3): memberships count only when no group was asked for.
        None => {
            if let Some(e) = &entry {
                resolved.additional_gids = memberships(e.name, group)
                    .filter(|g| *g != resolved.gid)
                    .collect();
            }
        }
    }
    for name in groups {
        let gid = find_group(name, group)?;
        if !resolved.additional_gids.contains(&gid) {
            resolved.additional_gids.push(gid);
        }
    }
    Ok(resolved)
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// By name first, then by number: a user may be called `1000`.
fn find_user<'a>(user: &str, passwd: &'a str) -> Option<Passwd<'a>> {
    let entries = || {
        passwd.lines().filter_map(|line| {
            let f: Vec<&str> = line.split(':').collect();
            Some(Passwd {
                name: f.first()?,
                uid: f.get(2)?.parse().ok()?,
                gid: f.get(3)?.parse().ok()?,
                home: f.get(5).copied().filter(|h| !h.is_empty()).unwrap_or("/"),
            })
        })
    };
    let uid = if user.is_empty() {
        Some(0)
    } else {
        user.parse().ok()
    };
    entries()
        .find(|e| !user.is_empty() && e.name == user)
        .or_else(|| entries().find(|e| Some(e.uid) == uid))
}

fn group_lines(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let f: Vec<&str> = line.split(':').collect();
        Some((
            *f.first()?,
            f.get(2)?.parse().ok()?,
            f.get(3).copied().unwrap_or(""),
        ))
    })
}

fn find_group(name: &str, group: &str) -> Result<u32, UserError> {
    match group_lines(group).find(|(n, _, _)| *n == name) {
        Some((_, gid, _)) => Ok(gid),
        None => number(name)?.ok_or_else(|| UserError::Group(name.into())),
    }
}

fn memberships<'a>(user: &'a str, group: &'a str) -> impl Iterator<Item = u32> + 'a {
    group_lines(group)
        .filter(move |(_, _, members)| members.split(',').any(|m| m == user))
        .map(|(_, gid, _)| gid)
}

fn number(text: &str) -> Result<Option<u32>, UserError> {
    match text.parse::<i64>() {
        Ok(n) if (0..=i64::from(i32::MAX)).contains(&n) => Ok(u32::try_from(n).ok()),
        Ok(_) => Err(UserError::Range),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/var/lib/nginx:/bin/false\n77:x:500:501::/h:/s\n";
    const GROUP: &str = "root:x:0:\nnginx:x:102:\nwww:x:33:nginx,root\naudio:x:29:nginx\n";

    fn check(spec: &str, groups: &[&str], expect: Result<(u32, u32, &[u32], &str), &str>) {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        let got = resolve(spec, &groups, PASSWD, GROUP);
        match expect {
            Ok((uid, gid, more, home)) => assert_eq!(
                got,
                Ok(ResolvedUser {
                    uid,
                    gid,
                    additional_gids: more.to_vec(),
                    home: home.into()
                })
            ),
            Err(text) => assert_eq!(got.unwrap_err().to_string(), text),
        }
    }

    #[test]
    fn users_are_names_or_numbers() {
        check("", &[], Ok((0, 0, &[33], "/root")));
        check("nginx", &[], Ok((101, 102, &[33, 29], "/var/lib/nginx")));
        check("101", &[], Ok((101, 102, &[33, 29], "/var/lib/nginx")));
        check("4242", &[], Ok((4242, 0, &[], "/")));
        check("77", &[], Ok((500, 501, &[], "/h")));
    }

    #[test]
    fn a_group_replaces_memberships() {
        check("nginx:www", &[], Ok((101, 33, &[], "/var/lib/nginx")));
        check(
            "nginx:7",
            &["audio", "9"],
            Ok((101, 7, &[29, 9], "/var/lib/nginx")),
        );
    }

    #[test]
    fn unknown_names_have_dockers_text() {
        check(
            "bob",
            &[],
            Err("unable to find user bob: no matching entries in passwd file"),
        );
        check(
            "0:bob",
            &[],
            Err("unable to find group bob: no matching entries in group file"),
        );
        check(
            "-1",
            &[],
            Err("uids and gids must be in range 0-2147483647"),
        );
    }
}
