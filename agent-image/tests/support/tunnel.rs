//! A proxy that opens tunnels for whoever has its password, to hosts that only it knows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

pub struct Tunnels {
    pub url: String,
    opened: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    /// Begins to listen; `host:port` leads to `to`.
    pub async fn start(host: &str, to: &str, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let opened = Arc::new(Mutex::new(Vec::new()));
        let proof = STANDARD.encode(format!("{user}:{password}"));
        let (host, to, seen) = (host.to_owned(), to.to_owned(), Arc::clone(&opened));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (host, to, proof) = (host.clone(), to.clone(), proof.clone());
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    // Whoever leaves early is no trouble of the proxy's.
                    let _ = serve(stream, &host, &to, &proof, &seen).await;
                });
            }
        });
        Self { url, opened }
    }

    /// Whom tunnels were opened for, by the client's own word.
    pub fn opened(&self) -> Vec<String> {
        self.opened.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    host: &str,
    to: &str,
    proof: &str,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let value = |name: &str| {
            let mut lines = head.iter().filter_map(|line| line.split_once(": "));
            let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        if value("proxy-authorization") != format!("Basic {proof}") {
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        if !head[0].starts_with(&format!("CONNECT {host} ")) {
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(answer.as_bytes()).await;
        }
        seen.lock().unwrap().push(value("user-agent"));
        let mut other = TcpStream::connect(to).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        copy_bidirectional(&mut stream, &mut other).await?;
        return Ok(());
    }
}
