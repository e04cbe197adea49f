//! Options of the drivers that pass output on: `syslog`, `journald`, `fluentd`.

use skep_objects::ids::short_id;
use skep_runtime::shim::{Endpoint, FluentdSink, JournaldSink, Sink, SyslogFormat, SyslogSink};

use super::options::{Options, attributes};
use super::tag;
use crate::container::Record;
use crate::error::{EngineError, Result};

/// What syslog takes beyond what describes the container.
pub(super) const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

/// What fluentd takes beyond what describes the container.
pub(super) const FLUENTD: [&str; 10] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// Refuses values that mean nothing.
pub(super) fn validate(driver: &str, options: &Options) -> Result<()> {
    sink(driver, options, &Record::default()).map(drop)
}

/// What the shim is told of a driver.
pub(super) fn sink(driver: &str, options: &Options, record: &Record) -> Result<Sink> {
    match driver {
        "syslog" => syslog(options, record).map(Sink::Syslog),
        "journald" => journald(options, record).map(Sink::Journald),
        "fluentd" => fluentd(options, record).map(Sink::Fluentd),
        other => Err(EngineError::invalid(format!(
            "logger: no log driver named '{other}' is registered"
        ))),
    }
}

fn tag_of(options: &Options, record: &Record) -> Result<String> {
    let template = options.get("tag").filter(|template| !template.is_empty());
    tag::render(template.map_or(tag::DEFAULT, String::as_str), record)
}

fn syslog(options: &Options, record: &Record) -> Result<SyslogSink> {
    let refuse = |text: &str| EngineError::invalid(text.to_owned());
    if let Some(key) = options.keys().find(|key| key.starts_with("syslog-tls-")) {
        return Err(EngineError::NotSupported(format!(
            "log opt '{key}': syslog over TLS"
        )));
    }
    let format = match options.get("syslog-format").map_or("", String::as_str) {
        "" => SyslogFormat::Unix,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(refuse("Invalid syslog format")),
    };
    let facility = match options.get("syslog-facility").map_or("", String::as_str) {
        "" => 3,
        text => {
            let named = FACILITIES.iter().position(|name| *name == text);
            let number = named.or_else(|| text.parse().ok().filter(|n| *n < FACILITIES.len()));
            number
                .and_then(|n| u8::try_from(n).ok())
                .ok_or_else(|| refuse("invalid syslog facility"))?
        }
    };
    let endpoint = match options.get("syslog-address").map_or("", String::as_str) {
        "" => None,
        address => Some(syslog_address(address)?),
    };
    Ok(SyslogSink {
        endpoint,
        format,
        facility,
        tag: tag_of(options, record)?,
    })
}

fn syslog_address(address: &str) -> Result<Endpoint> {
    let (scheme, rest) = address.split_once("://").ok_or_else(|| {
        EngineError::invalid(format!(
            "syslog-address should be in form proto://address, got {address}"
        ))
    })?;
    match scheme {
        "unix" | "unixgram" => {
            if !std::path::Path::new(rest).exists() {
                return Err(EngineError::invalid(format!(
                    "stat {rest}: no such file or directory"
                )));
            }
            Ok(Endpoint::Unix(rest.into()))
        }
        "udp" => Ok(Endpoint::Udp(with_port(rest, 514))),
        "tcp" => Ok(Endpoint::Tcp(with_port(rest, 514))),
        "tcp+tls" => Err(EngineError::NotSupported(
            "log opt 'syslog-address': syslog over TLS".to_owned(),
        )),
        _ => Err(EngineError::invalid(format!(
            "unsupported scheme: '{scheme}'"
        ))),
    }
}

fn with_port(address: &str, port: u16) -> String {
    let host_ends = address.rfind(']').unwrap_or(0);
    if address[host_ends..].contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{port}")
    }
}

fn journald(options: &Options, record: &Record) -> Result<JournaldSink> {
    let tag = tag_of(options, record)?;
    let own = [
        ("CONTAINER_ID", short_id(&record.id).to_owned()),
        ("CONTAINER_ID_FULL", record.id.clone()),
        ("CONTAINER_NAME", record.name.clone()),
        ("CONTAINER_TAG", tag.clone()),
        ("IMAGE_NAME", record.config.image.clone()),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let extra = attributes(record, options)
        .into_iter()
        .map(|(key, value)| (journal_name(&key), value))
        .filter(|(key, _)| !key.is_empty());
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
    Ok(JournaldSink {
        socket: "/run/systemd/journal/socket".into(),
        fields: extra.chain(own).collect(),
    })
}

/// Upper case, digits and underscores, not beginning with one: all that journald takes as a name.
fn journal_name(key: &str) -> String {
    let letter = |c: char| {
        let c = c.to_ascii_uppercase();
        if c.is_ascii_alphanumeric() { c } else { '_' }
    };
    let name: String = key.chars().map(letter).collect();
    name.trim_start_matches('_').to_owned()
}

fn fluentd(options: &Options, record: &Record) -> Result<FluentdSink> {
    let text = |key: &str| options.get(key).map_or("", String::as_str);
    let bad = |key: &str| EngineError::invalid(format!("invalid {key}: '{}'", text(key)));
    let flag = |key: &str| match text(key) {
        "" => Ok(false),
        value => value.parse::<bool>().map_err(|_| bad(key)),
    };
    let wait = |key: &str| match text(key) {
        "" => Ok(None),
        value => milliseconds(value).map(Some).ok_or_else(|| bad(key)),
    };
    for key in ["fluentd-buffer-limit", "fluentd-async-reconnect-interval"] {
        if options.contains_key(key) {
            return Err(EngineError::NotSupported(format!(
                "log opt '{key}': use mode=non-blocking with max-buffer-size"
            )));
        }
    }
    let max_retries = match text("fluentd-max-retries") {
        "" => u64::MAX,
        count => count.parse().map_err(|_| bad("fluentd-max-retries"))?,
    };
    let mut fields = attributes(record, options);
    fields.insert("container_id".to_owned(), record.id.clone());
    fields.insert("container_name".to_owned(), format!("/{}", record.name));
    Ok(FluentdSink {
        endpoint: fluentd_address(text("fluentd-address"))?,
        tag: tag_of(options, record)?,
        record: fields,
        is_async: flag("fluentd-async")? || flag("fluentd-async-connect")?,
        sub_second: flag("fluentd-sub-second-precision")?,
        request_ack: flag("fluentd-request-ack")?,
        retry_wait_ms: wait("fluentd-retry-wait")?.unwrap_or(1000),
        max_retries,
        write_timeout_ms: wait("fluentd-write-timeout")?,
    })
}

fn fluentd_address(address: &str) -> Result<Endpoint> {
    match address.split_once("://") {
        None if address.is_empty() => Ok(Endpoint::Tcp("127.0.0.1:24224".to_owned())),
        None => Ok(Endpoint::Tcp(with_port(address, 24224))),
        Some(("tcp", rest)) => Ok(Endpoint::Tcp(with_port(rest, 24224))),
        Some(("unix", path)) => Ok(Endpoint::Unix(path.into())),
        Some(("tls", _)) => Err(EngineError::NotSupported(
            "log opt 'fluentd-address': fluentd over TLS".to_owned(),
        )),
        Some((scheme, _)) => Err(EngineError::invalid(format!(
            "unsupported scheme: '{scheme}'"
        ))),
    }
}

/// `500ms`, `2s`, `1m`.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_port_they_lack() {
        for (given, expect) in [
            ("h", "h:24224"),
            ("h:1", "h:1"),
            ("[::1]", "[::1]:24224"),
            ("[::1]:2", "[::1]:2"),
        ] {
            let endpoint = fluentd_address(given).unwrap();
            assert_eq!(endpoint, Endpoint::Tcp(expect.to_owned()));
        }
    }

    #[test]
    fn journal_names_are_clean() {
        assert_eq!(journal_name("com.example-x"), "COM_EXAMPLE_X");
        assert_eq!(journal_name("_a"), "A");
    }
}
