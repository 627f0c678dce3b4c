//! Compose files: every key, and what becomes of it.
//!
//! The everyday part of the [Compose specification](https://github.com/compose-spec/compose-spec) is read by
//! [`compose::Project`](crate::compose::Project). Nothing is ignored: a key that is not in the tables below, a value that
//! cannot be carried over faithfully, a variable without a value are errors. Each names the file, the line, the service
//! and the key, and all of a file are reported at once:
//!
//! ```text
//! compose.yaml:14: service web: ports[0]: port "80x": "80x" is not a port from 1 to 65535; compose.yaml:15: service web: the key privileged is not supported
//! ```
//!
//! Extensions (`x-...`) may stand in every map with known keys. Anchors, aliases and merge keys (`<<`) work; tags
//! (`!reset`, `!override`) and a second document do not. A file may have 1 MiB, 50,000 values with its aliases followed,
//! and be nested 32 deep.
//!
//! # Variables
//!
//! `$A`, `${A}`, `${A:-default}`, `${A-default}`, `${A:?error}`, `${A?error}`, `${A:+replacement}`, `${A+replacement}`,
//! nested, and `$$` for a dollar, in every value and no key. Values come from the environment of the process, then from
//! `.env` beside the file. **Compose takes a variable that is not set as empty and warns; here it is an error**: write
//! `${A:-}` where it may be missing. `COMPOSE_PROJECT_NAME` names the project; no other `COMPOSE_...` variable means
//! anything.
//!
//! Environment files follow Compose's rules: comments, `export`, single quotes that keep everything, double quotes with
//! escapes and variables, values over several lines.
//!
//! # The whole
//!
//! | key | what becomes of it |
//! |---|---|
//! | `name` | the project's name, else that of the directory |
//! | `version` | nothing, as the specification says |
//! | `services` | a [`Deployment`](crate::Deployment) each, or a container that runs once: see below |
//! | `volumes` | `driver: local`, `name`, `labels`, `external`; called `<project>_<key>` |
//! | `networks` | `driver: bridge`, `name`; called `<project>_<key>`; `default` is that of services that name none |
//! | `configs`, `secrets`, `include`, `models` | error |
//!
//! # A service
//!
//! | key | what becomes of it |
//! |---|---|
//! | `build` | a directory, or `context`, `dockerfile`, `args`, `target`; other keys and remote contexts: error |
//! | `image` | found, else built, else pulled where it names a registry: there is no default one |
//! | `command`, `entrypoint` | a list, or a string split as a shell does; what only a shell can do (`&&`, `>`) is an error; empty ones clear those of the image |
//! | `environment`, `env_file` | maps or lists; a name alone takes its value from the variables; `env_file` with `path`, `required` |
//! | `ports` | both forms, ranges of the same length; IPv4; a choice out of a range: error |
//! | `expose` | ports for the others of the project; so are those in `ports` and those the image exposes. **A port that none of the three names is not reached under the service's name** |
//! | `volumes` | both forms: volumes and binds, `ro`; the source of a bind must exist; volumes without a name, `nocopy`, `subpath`, `propagation`, `z`: error |
//! | `tmpfs` | with `size`, else half of the memory |
//! | `networks` | a list, or a map without options |
//! | `depends_on` | a list, or `condition`; `restart: true` and `required: false`: error. A circle is named |
//! | `healthcheck` | `test` in all forms, `interval`, `timeout`, `start_period`, `retries`, `disable`; `start_interval`: error; without it the image's |
//! | `restart` | `no`, `always`, `on-failure[:N]`, `unless-stopped`. **Without it a service is kept running**, where Compose would let it end |
//! | `container_name` | the name of the deployment, or of the container that runs once; one replica alone |
//! | `cpus`, `mem_limit`, `pids_limit` | limits of each replica |
//! | `working_dir`, `user`, `hostname`, `labels`, `read_only`, `stop_grace_period`, `stop_signal` | as they are |
//! | `init` | as it is; **without it there is an init**, where Compose has none |
//! | all others of the specification | error |
//!
//! # `deploy`
//!
//! | key | what becomes of it |
//! |---|---|
//! | `mode`, `endpoint_mode` | `replicated` and `vip`, which is what there is; others: error |
//! | `replicas` | their number |
//! | `resources` | `limits` and `reservations` of `cpus`, `memory`, `pids`; `devices`: error |
//! | `update_config` | see below; `max_failure_ratio` other than 0, `failure_action: continue`: error |
//! | `rollback_config` | must say what `update_config` says: a rollback goes as an update does |
//! | `restart_policy` | `condition`, `delay`, `max_attempts`; `window` of 10 s, which is when a start counts as one |
//! | `labels`, `placement` | error |
//!
//! `order: start-first` with `parallelism: n` is a rolling update with a surge of n and none unavailable; `stop-first`,
//! the default, one without surge and n unavailable. A replica must work for the longer one of `delay` and `monitor` before
//! the next one is replaced; one that fails in that time makes the revision a failure. `failure_action` is `pause` unless
//! said otherwise, as the specification has it: `rollback` has to be asked for.
//!
//! # What runs once
//!
//! A service with `restart: "no"` (or `condition: none`), or one that another waits for with
//! `service_completed_successfully`, is a container `<project>-<service>-1` that ends when it has ended.
//! [`up`](crate::compose::up) runs it again where it failed or where the file or the image has changed; Compose starts it
//! at every `up`. Others of the project do not reach it by name.
//!
//! # Up, once more
//!
//! [`up`](crate::compose::up) looks after all images, awaited health checks and volumes of others before it changes
//! anything. Then one service after the other is rolled out, in the order of `depends_on`; each is available before the
//! next one begins. A service that is as the file wants it stays as it is; one whose image has the same name and another
//! content is replaced.
