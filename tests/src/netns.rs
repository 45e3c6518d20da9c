//! Network namespaces pinned at a path, as container runtimes make them.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace bound to a path. It goes with the sandbox's mount namespace, or earlier by [`Netns::remove`].
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    /// Makes a new, empty network namespace and pins it at `path`.
    ///
    /// # Panics
    /// Outside a sandbox without privileges, or when `path` cannot be made.
    pub fn create(path: PathBuf) -> Self {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("directory of the namespace");
        }
        File::create(&path).expect("file to pin the namespace at");
        on_thread(|| {
            // SAFETY: the file table is not unshared; only this short-lived thread changes its namespace.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
            mount_bind("/proc/thread-self/ns/net", &path).expect("the namespace can be pinned");
        });
        Self { path }
    }

    /// Pins the calling thread's own network namespace at `path`.
    ///
    /// # Panics
    /// As [`Netns::create`].
    pub fn pin_current(path: PathBuf) -> Self {
        File::create(&path).expect("file to pin the namespace at");
        mount_bind("/proc/thread-self/ns/net", &path).expect("the namespace can be pinned");
        Self { path }
    }

    /// The path a runtime would pass as `CNI_NETNS`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `body` inside the namespace, on a thread of its own, and hands back what it returns.
    ///
    /// # Panics
    /// When the namespace is gone or `body` panics.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            let file = File::open(&self.path).expect("the namespace is still there");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            body()
        })
    }

    /// Unpins the namespace and removes its path, as a runtime does when a pod ends.
    ///
    /// # Panics
    /// When it is not pinned any more.
    pub fn remove(self) {
        unmount(&self.path, UnmountFlags::DETACH).expect("the namespace is pinned");
        fs::remove_file(&self.path).expect("the path can be removed");
    }
}

fn on_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
