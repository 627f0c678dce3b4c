//! Reading one service of a file.

use super::cursor::{Cursor, Fields};
use super::policy::{Policy, health, patient, policy};
use super::service::{Condition, Service, ServiceBuild, ServiceHealth, ServiceMount};
use super::{dotenv, mount, port, words};
use crate::container::Restart;
use crate::value::EnvVar;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The keys of a service that are carried out.
const KEYS: [&str; 25] = [
    "build",
    "image",
    "entrypoint",
    "command",
    "environment",
    "env_file",
    "working_dir",
    "user",
    "hostname",
    "labels",
    "read_only",
    "init",
    "ports",
    "expose",
    "volumes",
    "tmpfs",
    "networks",
    "depends_on",
    "healthcheck",
    "deploy",
    "cpus",
    "mem_limit",
    "pids_limit",
    "restart",
    "container_name",
];

/// Further keys that are carried out.
const STOP_KEYS: [&str; 2] = ["stop_grace_period", "stop_signal"];

/// Keys that Compose has and this crate refuses.
const UNSUPPORTED: [&str; 68] = [
    "annotations",
    "attach",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "configs",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpuset",
    "credential_spec",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "driver_opts",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "ipc",
    "isolation",
    "label_file",
    "links",
    "logging",
    "mac_address",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "platform",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "storage_opt",
    "sysctls",
    "tty",
    "ulimits",
    "use_api_socket",
    "userns_mode",
    "uts",
    "volume_driver",
    "volumes_from",
    "net",
];

/// The most environment files of one service.
const MOST_FILES: usize = 32;

/// Where a project is and what is known of its surroundings.
pub(super) struct Surroundings<'file> {
    pub(super) project: &'file str,
    pub(super) directory: &'file Path,
    pub(super) lookup: &'file dyn Fn(&str) -> Option<String>,
}

/// What a service says of other parts of the file, and where.
pub(super) struct Mention<'file> {
    pub(super) of: Mentioned,
    pub(super) name: String,
    pub(super) cursor: Cursor<'file>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mentioned {
    Network,
    Volume,
    Service,
}

/// Reads the service `name`.
pub(super) fn service<'file>(
    name: &str,
    service: &Cursor<'file>,
    around: &Surroundings<'_>,
) -> (Service, Vec<Mention<'file>>) {
    let mut mentions = Vec::new();
    let known: Vec<&str> = KEYS.into_iter().chain(STOP_KEYS).collect();
    let fields = service.fields(&known, &UNSUPPORTED);
    let Policy { replicas, limits, request, rolling, restart } = policy(&fields);
    let health = fields.get("healthcheck").map_or(ServiceHealth::Image, |check| health(&check));
    let container_name = fields.get("container_name");
    if let Some(container_name) = &container_name
        && replicas != 1
    {
        container_name.wrong(format!("one name cannot be that of {replicas} replicas"));
    }
    let build = fields.get("build").map(|build| read_build(&build, around));
    let image = fields.text("image");
    if build.is_none() && image.is_none() {
        service.wrong("has neither image nor build");
    }
    let default_image = format!("{}-{}", around.project, name.to_lowercase());
    let mounts = read_mounts(&fields, around.directory, &mut mentions);
    let networks = networks(&fields, &mut mentions);
    let depends_on = depends_on(&fields, &mut mentions);
    let rollout = patient(rolling, &health).into();
    let service = Service {
        name: name.to_owned(),
        full_name: container_name.and_then(|name| name.text().map(str::to_owned)).unwrap_or_default(),
        image: image.unwrap_or(default_image),
        build,
        entrypoint: fields.get("entrypoint").and_then(|entrypoint| command(&entrypoint)),
        command: fields.get("command").and_then(|arguments| command(&arguments)),
        environment: environment(&fields, around),
        working_directory: fields.get("working_dir").and_then(|directory| absolute(&directory)),
        user: fields.text("user"),
        hostname: fields.text("hostname"),
        labels: labels(&fields),
        read_only: fields.get("read_only").and_then(|on| on.boolean()).unwrap_or(false),
        init: fields.get("init").and_then(|on| on.boolean()),
        published: fields.get("ports").map(|ports| port::published(&ports)).unwrap_or_default(),
        exposed: fields.get("expose").map(|ports| port::exposed(&ports)).unwrap_or_default(),
        mounts,
        networks,
        depends_on,
        health,
        replicas,
        limits,
        request,
        rollout,
        once: restart == Some(Restart::never()),
        restart: restart.unwrap_or(Restart::always()),
        stop_grace: fields
            .get("stop_grace_period")
            .and_then(|grace| grace.duration())
            .unwrap_or(Duration::from_secs(10)),
        stop_signal: fields.text("stop_signal"),
        line: service.line(),
    };
    (service, mentions)
}

fn read_build(build: &Cursor<'_>, around: &Surroundings<'_>) -> ServiceBuild {
    let path = |context: &Cursor<'_>| {
        context.parsed(|text| match text.contains("://") || text.starts_with("git@") {
            true => Err(format!("{text:?} is not a directory: remote contexts are not supported")),
            false => mount::host_path(text, around.directory),
        })
    };
    if !build.is_map() {
        let context = path(build).unwrap_or_default();
        return ServiceBuild { context, dockerfile: None, arguments: BTreeMap::new(), target: None };
    }
    let unsupported = [
        "additional_contexts",
        "cache_from",
        "cache_to",
        "dockerfile_inline",
        "entitlements",
        "extra_hosts",
        "isolation",
        "labels",
        "network",
        "no_cache",
        "platforms",
        "privileged",
        "provenance",
        "pull",
        "sbom",
        "secrets",
        "shm_size",
        "ssh",
        "tags",
        "ulimits",
    ];
    let fields = build.fields(&["context", "dockerfile", "args", "target"], &unsupported);
    let context = fields.get("context").and_then(|context| path(&context));
    let arguments = fields.get("args").map(|args| pairs(&args, around)).unwrap_or_default();
    ServiceBuild {
        context: context.unwrap_or_else(|| around.directory.to_owned()),
        dockerfile: fields.text("dockerfile").map(PathBuf::from),
        arguments,
        target: fields.text("target"),
    }
}

/// A list of words, or one string of them; an empty one stands for no words at all, null for the image's.
fn command(command: &Cursor<'_>) -> Option<Vec<String>> {
    if command.is_null() {
        return None;
    }
    if command.is_list() { Some(command.texts()) } else { command.parsed(words::split) }
}

/// Files first, then `environment`, which wins.
fn environment(fields: &Fields<'_>, around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (index, file) in
        fields.get("env_file").map(|files| files.text_or_texts()).unwrap_or_default().iter().enumerate()
    {
        if index >= MOST_FILES {
            file.wrong(format!("more than {MOST_FILES} files"));
            break;
        }
        all.extend(env_file(file, around));
    }
    if let Some(environment) = fields.get("environment") {
        all.extend(pairs(&environment, around));
    }
    all
}

fn env_file(file: &Cursor<'_>, around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let (path, required) = match file.is_map() {
        false => (Some(file.clone()), true),
        true => {
            let fields = file.fields(&["path", "required"], &["format"]);
            if fields.get("path").is_none() {
                file.wrong("path is missing");
            }
            (fields.get("path"), fields.get("required").and_then(|required| required.boolean()).unwrap_or(true))
        }
    };
    let Some((path, text)) = path.and_then(|path| Some((path.clone(), path.text()?))) else { return BTreeMap::new() };
    let Some(found) = path.parsed(|text| mount::host_path(text, around.directory)) else { return BTreeMap::new() };
    match super::project::read_text(&found, dotenv::MOST_BYTES as u64) {
        Err(error) if error.kind() == crate::ErrorKind::NotFound && !required => BTreeMap::new(),
        Err(error) => {
            path.wrong(error.to_string());
            BTreeMap::new()
        }
        Ok(content) => dotenv::parse(&content, around.lookup).unwrap_or_else(|malformed| {
            path.wrong(format!("{text}:{}: {}", malformed.line, malformed.message));
            BTreeMap::new()
        }),
    }
}

/// A map, or a list of `NAME=VALUE`. A name without a value takes it from the project's environment, or is left out where
/// that has none.
fn pairs(pairs: &Cursor<'_>, around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |cursor: &Cursor<'_>, name: &str, value: Option<String>| {
        let Some(value) = value.or_else(|| (around.lookup)(name)) else { return };
        match EnvVar::new(name, value.as_str()) {
            Ok(_) => drop(all.insert(name.to_owned(), value)),
            Err(error) => cursor.wrong(error.to_string()),
        }
    };
    if pairs.is_list() {
        for pair in pairs.list() {
            if let Some(text) = pair.text() {
                let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                put(&pair, name, value.map(str::to_owned));
            }
        }
        return all;
    }
    for (name, value) in pairs.entries() {
        if value.is_null() {
            put(&value, name, None);
        } else if let Some(text) = value.text() {
            put(&value, name, Some(text.to_owned()));
        }
    }
    all
}

fn labels(fields: &Fields<'_>) -> BTreeMap<String, String> {
    fields.get("labels").map(|labels| label_map(&labels)).unwrap_or_default()
}

/// A map, or a list of `KEY=VALUE`; a key alone has an empty value.
pub(super) fn label_map(labels: &Cursor<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |cursor: &Cursor<'_>, key: &str, value: &str| {
        if key.starts_with("com.docker.compose") {
            cursor.wrong(format!("the label {key} is Compose's own"));
        }
        all.insert(key.to_owned(), value.to_owned());
    };
    if labels.is_list() {
        for label in labels.list() {
            if let Some(text) = label.text() {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                put(&label, key, value);
            }
        }
        return all;
    }
    for (key, value) in labels.entries() {
        let text = if value.is_null() { Some("") } else { value.text() };
        if let Some(text) = text {
            put(&value, key, text);
        }
    }
    all
}

fn absolute(directory: &Cursor<'_>) -> Option<PathBuf> {
    directory.parsed(|text| match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("{text:?} is not an absolute path")),
    })
}

fn read_mounts<'file>(
    fields: &Fields<'file>,
    directory: &Path,
    mentions: &mut Vec<Mention<'file>>,
) -> Vec<ServiceMount> {
    let mut all = fields.get("volumes").map(|volumes| mount::mounts(&volumes, directory)).unwrap_or_default();
    all.extend(fields.get("tmpfs").map(|tmpfs| mount::tmpfs(&tmpfs)).unwrap_or_default());
    let (mut mounts, mut targets) = (Vec::new(), BTreeSet::new());
    for (mount, cursor) in all {
        if !targets.insert(mount.target().to_owned()) {
            cursor.wrong(format!("{} is the target of two mounts", mount.target().display()));
        }
        if let ServiceMount::Volume { volume, .. } = &mount {
            mentions.push(Mention { of: Mentioned::Volume, name: volume.clone(), cursor });
        }
        mounts.push(mount);
    }
    mounts
}

/// The keys of its networks; `default` where it names none.
fn networks<'file>(fields: &Fields<'file>, mentions: &mut Vec<Mention<'file>>) -> Vec<String> {
    let Some(networks) = fields.get("networks") else { return vec!["default".to_owned()] };
    let unsupported = [
        "aliases",
        "driver_opts",
        "gw_priority",
        "interface_name",
        "ipv4_address",
        "ipv6_address",
        "link_local_ips",
        "mac_address",
        "priority",
    ];
    let mut named: Vec<(String, Cursor<'file>)> = Vec::new();
    if networks.is_list() {
        named.extend(networks.list().into_iter().filter_map(|network| Some((network.text()?.to_owned(), network))));
    } else {
        for (name, options) in networks.entries() {
            if !options.is_null() {
                options.fields(&[], &unsupported);
            }
            named.push((name.to_owned(), options));
        }
    }
    if named.is_empty() {
        networks.wrong("names no network; leave the key out for the project's own");
    }
    let (mut names, mut known) = (Vec::new(), BTreeSet::new());
    for (name, cursor) in named {
        if !known.insert(name.clone()) {
            cursor.wrong(format!("network {name} is named twice"));
        }
        names.push(name.clone());
        mentions.push(Mention { of: Mentioned::Network, name, cursor });
    }
    names
}

fn depends_on<'file>(fields: &Fields<'file>, mentions: &mut Vec<Mention<'file>>) -> BTreeMap<String, Condition> {
    let mut all = BTreeMap::new();
    let Some(depends) = fields.get("depends_on") else { return all };
    let mut put = |name: &str, condition: Option<Condition>, cursor: Cursor<'file>| {
        all.extend(condition.map(|condition| (name.to_owned(), condition)));
        mentions.push(Mention { of: Mentioned::Service, name: name.to_owned(), cursor });
    };
    if depends.is_list() {
        for dependency in depends.list() {
            if let Some(name) = dependency.text() {
                put(name, Some(Condition::Started), dependency);
            }
        }
        return all;
    }
    for (name, options) in depends.entries() {
        let condition = condition_of(&options);
        put(name, condition, options);
    }
    all
}

fn condition_of(options: &Cursor<'_>) -> Option<Condition> {
    let fields = options.fields(&["condition", "restart", "required"], &[]);
    for (key, only) in [("restart", false), ("required", true)] {
        if let Some(value) = fields.get(key)
            && value.boolean() == Some(!only)
        {
            value.wrong(format!("only {only} is supported"));
        }
    }
    let Some(condition) = fields.get("condition") else {
        options.wrong("condition is missing");
        return None;
    };
    condition.parsed(|text| match text {
        "service_started" => Ok(Condition::Started),
        "service_healthy" => Ok(Condition::Healthy),
        "service_completed_successfully" => Ok(Condition::Completed),
        other => {
            Err(format!("{other:?} is none of service_started, service_healthy and service_completed_successfully"))
        }
    })
}
