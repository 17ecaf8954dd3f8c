//! Folders of the servers' user, which tests write to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use test_support::Directory;
use uuid::Uuid;

// Break: write the file with `fs::write` in `Directory::write`.
#[test]
fn what_root_writes_for_the_servers_follows_no_link_of_their_user() {
    let directory = Directory::new();
    let foreign = std::env::temp_dir().join(format!("foreign-{}", Uuid::new_v4()));
    fs::write(&foreign, "kept").expect("a file");
    let look = || {
        let found = fs::metadata(&foreign).expect("it was made");
        (found.uid(), found.mode(), fs::read_to_string(&foreign).expect("it was made"))
    };
    let (before, folder) = (look(), fs::metadata(directory.path(".")).expect("a folder"));
    if folder.uid() == before.0 {
        println!("not root: the folder is our own, and a link in it leads us no further than we may go");
    } else {
        let mut plant = Command::new("ln");
        plant.arg("-s").arg(&foreign).arg(directory.path("file")).uid(folder.uid()).gid(folder.gid());
        assert!(plant.status().expect("ln runs").success());
        let written = catch_unwind(AssertUnwindSafe(|| directory.write("file", "new")));
        assert!(written.is_err(), "it was written somewhere");
        assert_eq!(look(), before);
    }
    fs::remove_file(&foreign).expect("it is ours");
    directory.write("other", "new");
    let other = fs::metadata(directory.path("other")).expect("it was written");
    assert_eq!((other.uid(), other.mode() & 0o777), (folder.uid(), 0o600));
}
