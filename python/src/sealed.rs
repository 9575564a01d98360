//! Bytes with a checksum: numbers that were changed on the way would be numbers still.

/// What the saved form begins with.
const NAME: &[u8; 9] = b"ncollapse";
/// Of what is around the content; the content has its own.
const VERSION: u8 = 1;
/// The name, the version, the length of the content in 8 bytes and its CRC-32 in 4, the first byte the lowest.
const HEAD: usize = NAME.len() + 1 + 8 + 4;

/// What `content` writes, behind its length and its checksum.
pub(crate) fn write(content: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; HEAD];
    content(&mut bytes)?;
    let content = &bytes[HEAD..];
    let (length, checksum) = (content.len() as u64, crc32fast::hash(content));
    let head = [&NAME[..], &[VERSION], &length.to_le_bytes(), &checksum.to_le_bytes()].concat();
    bytes[..HEAD].copy_from_slice(&head);
    Ok(bytes)
}

/// The content, if it is what was written.
pub(crate) fn read(bytes: &[u8]) -> Result<&[u8], String> {
    let refused = |why: String| Err(format!("accumulator: {why}"));
    if bytes.is_empty() {
        return refused("no bytes given".into());
    }
    if bytes.len() < HEAD && bytes.starts_with(&NAME[..NAME.len().min(bytes.len())]) {
        return refused(format!("these bytes are damaged or cut short: there are only {} of them", bytes.len()));
    }
    let Some((head, content)) = bytes.split_at_checked(HEAD).filter(|(head, _)| head.starts_with(NAME)) else {
        return refused("these bytes are not an accumulator that was saved by `to_bytes`, or they are damaged".into());
    };
    let version = head[NAME.len()];
    if version != VERSION {
        return refused(format!("these bytes have version {version} of the saved form, this package reads {VERSION}"));
    }
    let mut numbers = [0; 12];
    numbers.copy_from_slice(&head[NAME.len() + 1..]);
    let [length @ .., a, b, c, d] = numbers;
    let (length, checksum) = (u64::from_le_bytes(length), u32::from_le_bytes([a, b, c, d]));
    if content.len() as u64 != length {
        let given = content.len();
        return refused(format!("these bytes are damaged or cut short: {given} follow the head, {length} were saved"));
    }
    if crc32fast::hash(content) != checksum {
        return refused("these bytes are damaged: their checksum is not the one that was saved".into());
    }
    Ok(content)
}
