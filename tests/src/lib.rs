//! Support for picocni's end-to-end tests: a private host for every test, the plugins as processes, and an
//! independent reader of kernel state.
//!
//! | module | what it is |
//! |---|---|
//! | [`paths`] | where the repository, the binaries and the packages are |
//! | [`sandbox`] | a private "host": mount and network namespace of one test |
//! | [`netns`] | pods: named network namespaces inside a sandbox |
//! | [`attachment`] | a pod that a test attaches to a network |
//! | [`kernel`] | links, addresses, routes, … read by a second netlink implementation |
//! | [`plugin`] | one plugin call and its outcome |
//! | [`peer`] | which plugins run: ours or the Go reference plugins |
//! | [`tool`] | the program on the command line; foreign plugins that are scripts |
//! | [`iptables`] | both flavours of iptables |
//! | [`traffic`] | servers and clients: who answers, and from where it was asked |
//! | [`outside`] | other machines wired to the host |
//! | [`packages`] | Debian packages fetched and unpacked below the target directory |
//! | [`panics`] | ways to panic that are left in the program, by crate |
//! | [`process`] | posix_spawn with times, memory and system calls |
//! | [`runner`] | the stages of `tests/run` |
//! | [`conformance`] | the rules of the specification, for any directory of plugins |
//! | [`differential`] | what a call printed and left, in words that two sets of plugins share |
//! | [`guarded`] | pods behind `firewall`, and who reaches whom |
//! | [`firewalld`] | firewalld on a message bus of a sandbox |
//! | [`budgets`] | the figures of `budgets.toml` |
//! | [`vm`] | the tests once more, in a virtual machine with a stock kernel |
//! | [`skip`] | tests that cannot run here say why and are counted |

pub mod attachment;
pub mod budgets;
pub mod conformance;
pub mod differential;
pub mod firewalld;
pub mod guarded;
pub mod iptables;
pub mod kernel;
pub mod netns;
pub mod outside;
pub mod packages;
pub mod panics;
pub mod paths;
pub mod peer;
pub mod plugin;
pub mod process;
pub mod runner;
pub mod sandbox;
pub mod skip;
pub mod tool;
pub mod traffic;
pub mod vm;

pub use attachment::Pod;
pub use plugin::{Call, Outcome};
pub use sandbox::Sandbox;
