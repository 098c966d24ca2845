//! One stream type over TCP, unix sockets and TLS, so that nothing above is generic over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(Socket),
    TlsServer(Box<tokio_rustls::server::TlsStream<Socket>>),
    TlsClient(Box<tokio_rustls::client::TlsStream<Socket>>),
}

macro_rules! delegate {
    ($self:ident, $enum:ident { $($variant:ident),+ }, $inner:ident => $call:expr) => {
        match $self.get_mut() { $( $enum::$variant($inner) => $call, )+ }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Socket { Tcp, Unix }, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, Socket { Tcp, Unix }, inner => Pin::new(inner).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, Socket { Tcp, Unix }, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Socket { Tcp, Unix }, inner => Pin::new(inner).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Socket { Tcp, Unix }, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Io { Plain, TlsServer, TlsClient }, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, Io { Plain, TlsServer, TlsClient }, inner => Pin::new(inner).poll_write(cx, buf))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, Io { Plain, TlsServer, TlsClient }, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Io::Plain(inner) => inner.is_write_vectored(),
            Io::TlsServer(inner) => inner.is_write_vectored(),
            Io::TlsClient(inner) => inner.is_write_vectored(),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Io { Plain, TlsServer, TlsClient }, inner => Pin::new(inner).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, Io { Plain, TlsServer, TlsClient }, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
