//! `plugins/examples`: the plugin of the README, as its author runs it: alone behind picocni's bridge, and in a program
//! with several plugins of the author's own. `tests/run` builds both programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use picocni_tests::kernel;
use picocni_tests::paths;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox;
use picocni_tests::tool::{Tool, network};
use serde_json::json;

const PLUGIN: &str = "plugins/examples/src/lib.rs";

fn program(name: &str) -> PathBuf {
    let program = paths::target_of("examples").join("debug").join(name);
    assert!(program.is_file(), "{} is missing: `tests/run` builds it", program.display());
    program
}

#[test]
fn the_readme_shows_the_whole_file_which_is_short() {
    let read = |name: &str| fs::read_to_string(paths::root().join(name)).expect(name);
    let (plugin, readme) = (read(PLUGIN), read("README.md"));
    assert!(readme.contains(&format!("```rust\n{plugin}```")), "README does not show {PLUGIN} as it is");
    let lines =
        [PLUGIN, "plugins/examples/src/main.rs", "plugins/examples/src/bin/node.rs"].map(|f| read(f).lines().count());
    println!("{lines:?} lines, at most 100 together");
    assert!(lines.iter().sum::<usize>() <= 100);
}

#[test]
fn it_runs_alone() {
    sandbox::run_with(Peer::picocni(), |host| {
        symlink(program("tcp-keepalive"), host.plugin_dir().join("tcp-keepalive")).expect("a link");
        let bridge = json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
        let plugins = [bridge, json!({"type": "tcp-keepalive", "seconds": 60})];
        network("net.conflist", &json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins}));
        let (tool, pod) = (Tool::new(host), host.pod("pod"));
        let netns = pod.path().to_str().expect("UTF-8");
        let result = tool.run(&["add", "net", netns]).expect_json();
        assert_eq!(result["ips"][0]["address"], "10.1.2.2/24");
        assert_eq!(pod.run(|| kernel::sysctl("net.ipv4.tcp_keepalive_time")), "60");
        tool.run(&["check", "net", netns]).expect_success();
        pod.run(|| kernel::set_sysctl("net.ipv4.tcp_keepalive_time", "61"));
        tool.run(&["check", "net", netns]).expect_failure(&["keepalive differs"]);
        tool.run(&["del", "net", netns]).expect_success();
    });
}

/// Every plugin is the author's program: bridge delegates to host-local inside it.
#[test]
fn it_runs_in_a_program_with_several_plugins() {
    sandbox::run_with(Peer::picocni(), |host| {
        let node = program("node");
        for name in ["bridge", "host-local", "tcp-keepalive"] {
            let link = host.plugin_dir().join(name);
            let _ = fs::remove_file(&link);
            symlink(&node, link).expect("a link");
        }
        let pod = host.pod("pod");
        let call = |command: &str, plugin: &str, conf: serde_json::Value| {
            host.call(command, plugin).netns(pod.path()).conf(&conf).run()
        };
        let bridge = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0",
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
        let result = call("ADD", "bridge", bridge.clone()).expect_result();
        let conf =
            json!({"cniVersion": "1.1.0", "name": "net", "type": "tcp-keepalive", "seconds": 60, "prevResult": result});
        assert_eq!(call("ADD", "tcp-keepalive", conf).expect_result()["ips"], result["ips"]);
        assert_eq!(pod.run(|| kernel::sysctl("net.ipv4.tcp_keepalive_time")), "60");
        call("DEL", "bridge", bridge).expect_quiet();
    });
}
