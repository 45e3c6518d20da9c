//! The operator's words: ways to name a namespace, exec, install, help, mistakes, and the demo (row 41 of `parity.tsv`).

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use picocni_tests::peer::plugins;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::{Tool, network};
use picocni_tests::{kernel, paths, skip, vm};
use serde_json::json;

fn bridge() {
    let ipam = json!({"type": "host-local", "subnet": "10.1.2.0/24"});
    let plugin = json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": ipam});
    network("10-net.conflist", &json!({"cniVersion": "1.1.0", "name": "net", "plugins": [plugin]}));
}

fn leases() -> Vec<String> {
    let files = fs::read_dir("/var/lib/cni/networks/net").into_iter().flatten();
    let names = files.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("10.")).collect()
}

#[test]
fn no_other_tool_is_needed_for_a_namespace() {
    sandbox::run(|host| {
        // Not even links to the plugins: they are built in.
        let tool = Tool::new(host).env("CNI_PATH", "/run/nothing");
        bridge();
        tool.run(&["add", "net", "new:web"]).expect_json();
        assert!(Path::new("/run/netns/web").exists());
        let said = tool.run(&["exec", "web", "--", "cat", "/proc/net/dev"]);
        assert!(said.expect_success().contains("eth0:") && !said.out.contains("cni0:"), "{said:?}");
        let lo = tool.run(&["exec", "web", "--", "cat", "/proc/net/fib_trie"]);
        assert!(lo.expect_success().contains("127.0.0.1"), "lo is up in a namespace that was made");
        tool.run(&["check", "net", "new:web"]).expect_success();
        tool.run(&["del", "net", "new:web"]).expect_success();
        assert!(!Path::new("/run/netns/web").exists());
        assert_eq!(leases(), [""; 0]);
        tool.run(&["del", "net", "new:web"]).expect_success();
        // One that could not be wired is not left.
        tool.run(&["add", "other", "new:web"]).expect_failure(&["other"]);
        assert!(!Path::new("/run/netns/web").exists());
        tool.run(&["add", "net", "new:a/b"]).expect_failure(&["invalid namespace name"]);
    });
}

#[test]
fn a_process_names_its_namespace() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        bridge();
        let pod = host.pod("p");
        let mut child = pod.run(|| Command::new("sleep").arg("60").spawn().expect("a process"));
        let netns = format!("pid:{}", child.id());
        let outcome = std::panic::catch_unwind(|| {
            tool.run(&["add", "net", &netns, "-i", "net1"]).expect_json();
            assert!(pod.run(|| kernel::Snapshot::here().find_link("net1").is_some()));
            let said = tool.run(&["exec", &netns, "--", "cat", "/proc/net/dev"]);
            assert!(said.expect_success().contains("net1:"));
            tool.run(&["check", "net", &netns, "--ifname", "net1"]).expect_success();
            tool.clone().env("CNI_IFNAME", "net1").run(&["del", "net", &netns]).expect_success();
            assert!(pod.run(|| kernel::Snapshot::here().find_link("net1").is_none()));
        });
        child.kill().expect("our process");
        child.wait().expect("our process");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        tool.run(&["add", "net", "pid:x"]).expect_failure(&["pid"]);
    });
}

#[test]
fn exec_passes_on_how_the_command_ended() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let pod = host.pod("p");
        let path = pod.path().to_str().expect("UTF-8");
        assert_eq!(tool.run(&["exec", path, "--", "sh", "-c", "exit 7"]).code, Some(7));
        assert_eq!(tool.run(&["exec", path, "--", "sh", "-c", "echo $0 $1", "a b", "c"]).expect_success(), "a b c\n");
        assert_ne!(tool.run(&["exec", path, "--", "/no/such/program"]).code, Some(0));
        tool.run(&["exec", "no-such-namespace", "--", "true"]).expect_failure(&["no-such-namespace"]);
    });
}

#[test]
fn install_makes_a_link_for_every_plugin_or_changes_nothing() {
    sandbox::run(|host| {
        let (tool, dir) = (Tool::new(host), Path::new("/run/install"));
        fs::create_dir(dir).expect("a directory");
        for _ in 0..2 {
            tool.run(&["install", "/run/install"]).expect_success();
            // The program's own name is that of the plugin that runs a list in one process.
            for plugin in plugins().into_iter().chain(["picocni"]) {
                let link = fs::read_link(dir.join(plugin)).unwrap_or_else(|e| panic!("{plugin}: {e}"));
                assert_eq!(dir.join(link).canonicalize().ok(), paths::binary().canonicalize().ok());
            }
            for plugin in plugins() {
                let about = Command::new(dir.join(plugin)).env_clear().output().expect("it runs");
                assert!(String::from_utf8_lossy(&about.stderr).starts_with(&format!("CNI {plugin} plugin")));
            }
        }
        // A file of somebody else's is left alone, and then nothing else is made either.
        for plugin in plugins().into_iter().chain(["picocni"]) {
            fs::remove_file(dir.join(plugin)).expect("a link");
        }
        fs::write(dir.join("portmap"), "another program").expect("a file");
        tool.run(&["install", "/run/install"]).expect_failure(&["portmap"]);
        assert_eq!(fs::read(dir.join("portmap")).expect("a file"), b"another program");
        assert_eq!(fs::read_dir(dir).expect("a directory").count(), 1);
    });
}

#[test]
fn mistakes_are_named() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        bridge();
        for words in [&["add"][..], &["add", "net"], &["gc", "net"], &["status"]] {
            tool.run(words).expect_failure(&["NETWORK NETNS"]);
        }
        tool.run(&["add", "net", "/run/netns/none", "more"]).expect_failure(&["too many arguments", "more"]);
        tool.run(&["add", "net", "/run/netns/none", "--help-me"]).expect_failure(&["unknown option"]);
        tool.run(&["add", "net", "/run/netns/none"]).expect_failure(&["/run/netns/none"]);
        let wrong = tool.clone().env("CNI_ARGS", "A=");
        wrong.run(&["add", "net", "new:p"]).expect_failure(&["invalid CNI_ARGS pair"]);
        let wrong = tool.clone().env("CAP_ARGS", "[1]");
        wrong.run(&["add", "net", "new:p"]).expect_failure(&["invalid capability arguments"]);
        let said = tool.run(&["frobnicate"]);
        assert_eq!((said.code, said.err.contains("frobnicate")), (Some(2), true), "{said:?}");
        for words in [&["--help"][..], &["help", "demo"], &["help", "exec"], &["version"]] {
            assert!(!tool.run(words).expect_success().is_empty(), "{words:?}");
        }
        assert_eq!(leases(), [""; 0]);
    });
}

/// Runs the demo and checks what it says and what it leaves.
fn demo(host: &Sandbox, command: &mut Command) {
    let tool = Tool::new(host);
    let before = host.state();
    let said = tool.start(command);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.elapsed < vm::patience(Duration::from_secs(3)), "it took {:?}", said.elapsed);
    for word in ["10.", "8080", "left"] {
        assert!(said.out.contains(word), "no {word:?} in\n{}", said.out);
    }
    assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
}

#[test]
fn the_demo_wires_two_pods_and_leaves_nothing() {
    sandbox::run(|host| {
        // It is the binary alone that must do it.
        demo(host, Command::new(paths::binary()).arg("demo"));
        // And not only at a terminal.
        demo(host, Command::new(paths::binary()).arg("demo").stdin(Stdio::null()));
    });
}

#[test]
fn the_demo_runs_as_an_ordinary_user() {
    let allowed = fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|n| n.trim() != "0");
    if !allowed {
        skip!("this kernel lets no user make namespaces");
    }
    sandbox::run(|host| {
        // Where a user can read it, wherever the repository is.
        fs::create_dir("/run/bin").expect("a directory");
        fs::copy(paths::binary(), "/run/bin/picocni").expect("a copy");
        symlink("picocni", "/run/bin/p").expect("a link");
        demo(host, Command::new("/run/bin/p").arg("demo").uid(65534).gid(65534));
    });
}
