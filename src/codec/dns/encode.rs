//! Builds answers, for tests.

use super::{CLASS_IN, Data, Record, TOP_BIT, TYPE_A, TYPE_PTR, TYPE_SRV, TYPE_TXT, put_name};

/// An answer with these records, as a device sends it to one asker.
#[must_use]
pub fn answer(id: u16, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    for word in [id, 0x8400, 0, count, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    for Record { name, data } in records.iter().take(usize::from(count)) {
        put_name(&mut out, name);
        let (kind, content) = content(data);
        for word in [kind, CLASS_IN | TOP_BIT, 0, 120] {
            out.extend(word.to_be_bytes());
        }
        out.extend(u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(content);
    }
    out
}

fn content(data: &Data) -> (u16, Vec<u8>) {
    let mut out = Vec::new();
    match data {
        Data::Pointer(name) => {
            put_name(&mut out, name);
            (TYPE_PTR, out)
        }
        Data::Service { host, port } => {
            out.extend([0; 4]);
            out.extend(port.to_be_bytes());
            put_name(&mut out, host);
            (TYPE_SRV, out)
        }
        Data::Text(pairs) => {
            for (key, value) in pairs {
                let text = format!("{key}={value}");
                let bytes = &text.as_bytes()[..text.len().min(255)];
                out.push(bytes.len() as u8);
                out.extend(bytes);
            }
            (TYPE_TXT, out)
        }
        Data::Address(address) => (TYPE_A, address.to_vec()),
    }
}
