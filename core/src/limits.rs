//! Every capacity of the core, in one place, each with its reason.
//!
//! Nothing here grows at run time. Running over a limit is a CNI error with
//! code [`Code::LIMIT`](crate::error::Code::LIMIT) that names the constant;
//! nothing is ever cut short silently.

/// Bytes of one request on stdin. libcni sends a few KiB; a prevResult with
/// dozens of addresses stays under 16 KiB. Four times that.
pub const REQUEST: usize = 64 * 1024;
/// Bytes of the text that a plugin makes for another one: a file of its own
/// ([`STATE_FILE`]), and that with what a call adds to it (prevResult, GC's lists).
pub const COMPOSED: usize = STATE_FILE + REQUEST;
/// Plugins in process that are inside one another below the first: a list in
/// one process has `flannel`, which calls `bridge`, which calls `host-local`.
pub const NESTING: usize = 3;
/// Missing things that a reconciliation tells of one attachment: a plugin makes
/// three kinds at most, and five plugins make such things.
pub const REPAIRS: usize = 16;
/// Links whose deletion may wait for that of another one: an attachment has two
/// on the host, the end of its pair and the one that shapes what it sends.
pub const WAITING_LINKS: usize = 4;
/// Bytes of an interface name, without the terminating NUL (IFNAMSIZ - 1, linux/if.h).
pub const IFNAME: usize = 15;
/// Bytes of an ownership tag. The kernel keeps 255 bytes of link alias
/// (IFALIASZ, linux/if.h) and `nft` shows 128 of a comment; one law for both.
pub const TAG: usize = 128;
/// Bytes of a file path built by us (data directory + network + container ID).
pub const PATH: usize = 512;
/// Bytes of `details` in an error.
pub const DETAILS: usize = 320;
/// Bytes of a delegated plugin's error object that is passed through.
pub const FOREIGN_ERROR: usize = 4096;
/// Interfaces in one result. A chain makes bridge, host veth, container, vlan gateway, ifb.
pub const INTERFACES: usize = 12;
/// Addresses in one result.
pub const IPS: usize = 16;
/// Routes in one result. podman writes one or two; operators list a few networks.
pub const ROUTES: usize = 64;
/// Name servers, search domains and options in one `dns` block (resolv.conf(5)
/// itself stops at 3 servers; options are short words).
pub const DNS_ENTRIES: usize = 8;
/// Bytes of one DNS name (RFC 1035: 253 visible characters).
pub const DNS_NAME: usize = 255;
/// Bytes of an interface name in a result (not only Linux names).
pub const RESULT_NAME: usize = 63;
/// Bytes of a MAC address as text (20-byte InfiniBand address: 59).
pub const MAC_TEXT: usize = 63;
/// Bytes of a sandbox path in a result.
pub const SANDBOX: usize = 255;
/// Bytes of a `socketPath` (sun_path is 108 bytes, sys/un.h).
pub const SOCKET_PATH: usize = 108;
/// Bytes of a `pciID` (`dddd:bb:dd.f` is 12; vendor prefixes exist).
pub const PCI_ID: usize = 32;
/// Changes in one plan. The longest plan so far (bridge, dual stack, all
/// options) has 24; port mappings are planned in slices of this size.
pub const PLAN: usize = 64;
/// Entries of the undo journal: a claim and an element per family for every
/// port mapping, and the steps of a whole chain.
pub const JOURNAL: usize = 512;
/// Entries of the log of applied operations, shown by `demo` and `plan`.
pub const LOG: usize = 128;
/// Plugin calls kept in that log: a chain forth and back with its delegates.
pub const SPANS: usize = 64;
/// Bytes of a sysctl key below /proc/sys.
pub const SYSCTL_KEY: usize = 128;
/// Bytes of a sysctl value that is read back to be restored.
pub const SYSCTL_VALUE: usize = 256;
/// Sysctls in one `tuning` config.
pub const SYSCTLS: usize = 64;
/// Port mappings of one attachment (each counts once, ranges come expanded).
pub const PORT_MAPPINGS: usize = 128;
/// Lines of one network policy: every pair of a peer and a port of a rule, and
/// every exception of each. Twice as many rules of the packet filter, at most
/// 700 bytes each, go into one transaction.
pub const POLICY_LINES: usize = 96;
/// Addresses of an attachment with a network policy: those of its result, and
/// link-local ones.
pub const POLICY_ADDRESSES: usize = IPS + 8;
/// Words of `conditionsV4` and of `conditionsV6`. Two matches have eight.
pub const CONDITIONS: usize = 64;
/// Range sets of one IPAM config (one address is given per set).
pub const RANGE_SETS: usize = 8;
/// Ranges in one set.
pub const RANGES: usize = 16;
/// Requested addresses in one call.
pub const REQUESTED_IPS: usize = 16;
/// 64-bit words of the address bitmap: 64 Ki addresses at once; larger pools
/// are searched by a moving window.
pub const BITMAP_WORDS: usize = 1024;
/// Valid attachments in one GC call. kubelet allows 110 pods a node by default
/// and 500 at the most seen; two interfaces each.
pub const ATTACHMENTS: usize = 1024;
/// Plugins in one network configuration list.
pub const PLUGINS: usize = 16;
/// Capabilities declared by one plugin config.
pub const CAPABILITIES: usize = 16;
/// Bytes of a small file of ours (port records, backups).
pub const STATE_FILE: usize = 16 * 1024;
/// Ranges of VLANs of one bridge port, and elements of `vlanTrunk`.
pub const VLAN_RANGES: usize = 64;
/// Tries with another host veth name when a stranger owns the first.
pub const VETH_CANDIDATES: u8 = 4;
/// Milliseconds a bridge port may take to forward before ADD fails.
pub const PORT_UP_MS: u32 = 2_000;
/// Milliseconds duplicate address detection may take when it is asked for (RFC 4862: 1 s and a random delay).
pub const DAD_MS: u32 = 5_000;
/// Keys of an object that flannel hands on: `delegate`, `ipam`, `runtimeConfig`.
pub const DELEGATE_KEYS: usize = 64;
/// Bytes of a network configuration list together with the plugin files beside it.
pub const CONFLIST: usize = 64 * 1024;
/// Configuration files of one directory that are looked at. Each costs one
/// listing of the directory, because nothing is sorted in memory.
pub const CONF_FILES: usize = 128;
/// Entries of `cniVersions`: there are seven versions, and lists name future ones.
pub const CNI_VERSIONS: usize = 32;
/// Bytes of a file name (NAME_MAX, linux/limits.h).
pub const FILE_NAME: usize = 255;
/// Bytes of a result cache file: base64 of the list (4/3 of [`CONFLIST`]), the
/// result ([`REQUEST`]), and 39 KiB for the arguments.
pub const CACHE_FILE: usize = 192 * 1024;
/// Bytes of CNI_ARGS that the result cache holds. kubelet's four pairs have about 250.
pub const CNI_ARGS: usize = 4096;
/// Pairs of CNI_ARGS in the result cache.
pub const CNI_ARGS_PAIRS: usize = 64;
/// Routes of one interface that are moved to another table. Pods have a handful.
pub const MOVED_ROUTES: usize = 64;
/// Routing tables that are tried, one after the other, until one is free.
pub const TABLES: u32 = 1024;
/// Bytes of one transaction of iptables: 128 port mappings with three rules of 120
/// bytes (IPv6: two of 190) are 48 KiB.
pub const IPTABLES_SCRIPT: usize = 64 * 1024;
/// Bytes of the rules that one change adds to chains of others; the journal
/// keeps them. Two rules of one address have 200.
pub const IPTABLES_LINES: usize = 512;
/// Bytes of one rule: a comment of 255, fifteen ports, and conditions.
pub const IPTABLES_RULE: usize = 4096;
/// Bytes of a chain's name (XT_EXTENSION_MAXNAMELEN - 1, linux/netfilter/x_tables.h).
pub const IPTABLES_CHAIN: usize = 28;
/// Bytes of a table's name (`security`; XT_TABLE_MAXNAMELEN is 32).
pub const IPTABLES_TABLE: usize = 8;
