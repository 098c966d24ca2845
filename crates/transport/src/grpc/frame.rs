//! Length-prefixed messages: one byte of flags, four bytes of length, and the message.

use bytes::{Buf, Bytes, BytesMut};

use super::{Code, Status};
use crate::body::{BodyError, BodyLimits, CompressedFrame, RequestBody, exact, own};
use crate::coding::{Coding, CodingError, Members, decompress_members};

pub(crate) const FRAME_PREFIX_BYTES: usize = 5;
/// Room made at once for a message whose length is only claimed.
const RESERVE_BYTES_MAX: usize = 4 << 20;

/// The five bytes before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FramePrefix {
    pub(crate) compressed: bool,
    pub(crate) length: u32,
}

impl FramePrefix {
    pub(crate) fn encode(self) -> [u8; FRAME_PREFIX_BYTES] {
        let [a, b, c, d] = self.length.to_be_bytes();
        [u8::from(self.compressed), a, b, c, d]
    }

    /// # Errors
    /// The flag byte, if it is neither 0 nor 1.
    pub(crate) fn decode(bytes: [u8; FRAME_PREFIX_BYTES]) -> Result<FramePrefix, u8> {
        let [flag, a, b, c, d] = bytes;
        match flag {
            0 | 1 => Ok(FramePrefix { compressed: flag == 1, length: u32::from_be_bytes([a, b, c, d]) }),
            other => Err(other),
        }
    }
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The decompressed bytes.
    pub payload: Bytes,
    /// The compressed form, if it may be forwarded verbatim.
    pub frame: Option<CompressedFrame>,
}

/// Reads the messages of a request, one after the other.
#[derive(Debug)]
pub struct Messages {
    body: RequestBody,
    coding: Coding,
    limits: BodyLimits,
    /// What was received and not yet consumed.
    rest: Bytes,
    between: Between,
}

/// What holds between two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// The limits of the request.
    Limits,
    /// Nothing: a stream is open for as long as its client likes, and its limits hold for each message.
    Silence,
}

impl Messages {
    /// Messages in a coding that the request's `grpc-encoding` named; the limits hold for each message.
    #[must_use]
    pub fn new(body: RequestBody, coding: Coding, limits: BodyLimits) -> Messages {
        Messages { body, coding, limits, rest: Bytes::new(), between: Between::Limits }
    }

    /// Messages of a stream, between which the client may be silent. What a whole request may take is what each message
    /// may take.
    #[must_use]
    pub fn of_stream(mut body: RequestBody, coding: Coding, limits: BodyLimits) -> Messages {
        body.limit_each_message();
        Messages { body, coding, limits, rest: Bytes::new(), between: Between::Silence }
    }

    /// The next message, or none at the end of the stream.
    ///
    /// # Errors
    /// A [`Status`] to end the call with: RESOURCE_EXHAUSTED beyond the limit, INTERNAL for broken framing or
    /// compression, CANCELLED or DEADLINE_EXCEEDED where the rest did not come.
    pub async fn next(&mut self) -> Result<Option<Message>, Status> {
        let Some(prefix) = self.prefix().await? else { return Ok(None) };
        let length = prefix.length as usize;
        // The compressed form counts too: it has to be held as well.
        if length > self.limits.bytes_max {
            return Err(too_large(self.limits.bytes_max));
        }
        let bytes = self.take(length).await?;
        if self.between == Between::Silence {
            self.body.end_message(self.rest.len());
        }
        if !prefix.compressed {
            return Ok(Some(Message { payload: bytes, frame: None }));
        }
        if self.coding == Coding::Identity {
            return Err(Status::new(
                Code::Internal,
                "a message is marked as compressed, but grpc-encoding names no coding",
            ));
        }
        let done = decompress_members(self.coding, &bytes, self.limits.bytes_max).map_err(|error| match error {
            CodingError::TooLarge { limit_bytes } => too_large(limit_bytes),
            CodingError::Corrupt { .. } => Status::new(Code::Internal, error.to_string()),
        })?;
        let frame = (done.members == Members::One).then_some(CompressedFrame { coding: self.coding, bytes });
        Ok(Some(Message { payload: done.payload, frame }))
    }

    async fn prefix(&mut self) -> Result<Option<FramePrefix>, Status> {
        let mut bytes = [0_u8; FRAME_PREFIX_BYTES];
        let mut filled = 0;
        while filled < bytes.len() {
            if self.rest.is_empty() {
                let received = match (filled, self.between) {
                    (0, Between::Silence) => self.receive_after_silence().await,
                    _ => self.receive(filled).await,
                };
                match received? {
                    Some(data) => self.rest = data,
                    None if filled == 0 => return Ok(None),
                    None => return Err(broken_off()),
                }
            }
            let part = self.rest.len().min(bytes.len() - filled);
            self.rest.copy_to_slice(&mut bytes[filled..filled + part]);
            filled += part;
        }
        FramePrefix::decode(bytes)
            .map(Some)
            .map_err(|flag| Status::new(Code::Internal, format!("a message begins with the unknown flag {flag}")))
    }

    /// The next `length` bytes in one buffer; not copied where they came in one piece.
    async fn take(&mut self, length: usize) -> Result<Bytes, Status> {
        if self.rest.is_empty() && length > 0 {
            self.rest = self.receive(0).await?.ok_or_else(broken_off)?;
        }
        if self.rest.len() >= length {
            return Ok(own(self.rest.split_to(length)));
        }
        let mut whole = BytesMut::with_capacity(length.min(RESERVE_BYTES_MAX));
        whole.extend_from_slice(&std::mem::take(&mut self.rest));
        while whole.len() < length {
            let mut data = self.receive(whole.len()).await?.ok_or_else(broken_off)?;
            let part = data.len().min(length - whole.len());
            whole.extend_from_slice(&data.split_to(part));
            self.rest = data;
        }
        Ok(exact(whole))
    }

    /// The first piece of a message, however long it takes. From then on the message has its limits.
    async fn receive_after_silence(&mut self) -> Result<Option<Bytes>, Status> {
        let limits = BodyLimits { idle_timeout: None, ..self.limits };
        let data = self.receive_within(&limits, 0).await;
        self.body.begin_message();
        data
    }

    async fn receive(&mut self, received_bytes: usize) -> Result<Option<Bytes>, Status> {
        let limits = self.limits;
        self.receive_within(&limits, received_bytes).await
    }

    async fn receive_within(&mut self, limits: &BodyLimits, received_bytes: usize) -> Result<Option<Bytes>, Status> {
        self.body.next_data(limits, received_bytes).await.map_err(|error| match &error {
            BodyError::TooLarge { limit_bytes } => too_large(*limit_bytes),
            BodyError::TimedOut { .. } => Status::new(Code::DeadlineExceeded, error.to_string()),
            BodyError::Busy { .. } => Status::new(Code::Unavailable, error.to_string()),
            BodyError::Broken { .. } => Status::new(Code::Cancelled, error.to_string()),
        })
    }
}

fn too_large(limit_bytes: usize) -> Status {
    Status::new(Code::ResourceExhausted, format!("the message is larger than the limit of {limit_bytes} bytes"))
}

fn broken_off() -> Status {
    Status::new(Code::Internal, "the message breaks off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_flag_and_a_length() {
        let prefix = FramePrefix { compressed: true, length: 0x0102_0304 };
        assert_eq!(prefix.encode(), [1, 1, 2, 3, 4]);
        assert_eq!(FramePrefix::decode([1, 1, 2, 3, 4]), Ok(prefix));
        assert_eq!(FramePrefix::decode([2, 0, 0, 0, 0]), Err(2));
    }
}
