//! nginx, Apache and lighttpd, each serving the same folder of files.
//!
//! Limits: they serve files and no more; Apache's modules are where Debian puts them.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::real::{Program, command, free_address};

const MODULES: &str = "/usr/lib/apache2/modules";

/// The three servers of one folder; they end with this value.
pub struct Servers {
    /// nginx, Apache, lighttpd.
    pub addresses: [SocketAddr; 3],
    folder: TempDir,
    _programs: [Program; 3],
}

impl Servers {
    /// Starts them over an empty folder.
    pub fn start() -> Self {
        let folder = open_folder();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        let servers = [nginx_of_files(folder.path()), apache(folder.path()), lighttpd(folder.path())];
        let addresses = servers.each_ref().map(|server| server.1);
        Self { addresses, folder, _programs: servers.map(|server| server.0) }
    }

    /// The folder that they serve.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }
}

/// A folder that servers may read under any user.
pub fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Writes a server's configuration beside the files.
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// nginx with these lines in its `http` block, one of which listens at `address`; what it writes goes to `folder`.
pub fn nginx(folder: &Path, address: SocketAddr, http: &str) -> Program {
    let at = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/nginx-{name};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx.log;\nevents {{}}\n\
         http {{ access_log off;\n{temporary}{http} }}\n"
    );
    let mut nginx = command("nginx");
    nginx.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(write(folder, "nginx.conf", &text));
    Program::start(nginx).listening_at(address)
}

fn nginx_of_files(folder: &Path) -> (Program, SocketAddr) {
    let address = free_address();
    let at = folder.display();
    (nginx(folder, address, &format!("server {{ listen {address}; root {at}/files; }}")), address)
}

fn apache(folder: &Path) -> (Program, SocketAddr) {
    let address = free_address();
    let at = folder.display();
    let text = format!(
        "ServerRoot {at}\nServerName localhost\nListen {address}\nPidFile {at}/apache.pid\n\
         ErrorLog {at}/apache.log\nMutex file:{at}\nUser www-data\nGroup www-data\n\
         LoadModule mpm_event_module {MODULES}/mod_mpm_event.so\n\
         LoadModule authz_core_module {MODULES}/mod_authz_core.so\nDocumentRoot {at}/files\n"
    );
    let mut apache = command("apache2");
    apache.arg("-DFOREGROUND").arg("-f").arg(write(folder, "apache.conf", &text));
    (Program::start(apache).listening_at(address), address)
}

fn lighttpd(folder: &Path) -> (Program, SocketAddr) {
    let address = free_address();
    let at = folder.display();
    let text = format!(
        "server.document-root = \"{at}/files\"\nserver.bind = \"127.0.0.1\"\nserver.port = {}\n\
         server.errorlog = \"{at}/lighttpd.log\"\n",
        address.port()
    );
    let mut lighttpd = command("lighttpd");
    lighttpd.arg("-D").arg("-f").arg(write(folder, "lighttpd.conf", &text));
    (Program::start(lighttpd).listening_at(address), address)
}
