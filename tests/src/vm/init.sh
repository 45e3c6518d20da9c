#!/bin/busybox sh
# The first and only process of the guest: runs the programs that /vm/programs names, tells on the console how each
# ended, and turns the machine off. Words that start with VM- are for tests/src/vm/emulator.rs.
# This shell runs busybox's own commands, by /proc/self/exe, before looking at PATH; what the tests start is found by PATH.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/net /dev/shm
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
# /tmp is memory already, and may hold what is tested: a clone that lies below it.
mkdir -p /tmp
for directory in /run /dev/shm; do mount -t tmpfs tmpfs $directory; done
echo /sbin/modprobe >/proc/sys/kernel/modprobe
# Other modules are loaded when asked for, but of two that ask for one at the same time busybox sends the second away
# before it is ready. br_netfilter is not among them: it changes what a bridge does.
modprobe -a overlay bridge veth 8021q ipvlan macvlan vrf dummy tun nf_tables nft_chain_nat nft_nat nft_masq nft_ct \
    nft_fib nft_fib_inet nf_conntrack_netlink
ifconfig lo up
. /vm/environment

uptime() { cut -d' ' -f1 /proc/uptime; }
echo "VM-BOOTED $(uname -r) after $(uptime) s"
# Nobody may be left to end this machine.
(sleep "$LIMIT"; echo "VM-LIMIT of $LIMIT s"; poweroff -f) &
result=0
while read -r name program; do
    started=$(uptime)
    "$program" "$@" </dev/null || result=1
    echo "VM-RAN $name $started $(uptime)"
    [ ! -e "$PICOCNI_SKIPS" ] || { sed 's/^/VM-SKIPPED /' "$PICOCNI_SKIPS"; rm "$PICOCNI_SKIPS"; }
done </vm/programs
echo "VMTEST-EXIT $result"
poweroff -f
