//! Records that no client library writes: Kafka's produce request, byte by byte
//! (Apache Kafka, "Protocol guide", Produce version 3 and "Record Batch").

use std::io::{Read, Write};
use std::net::TcpStream;

use test_support::stack;

/// Publishes one record with one header, whose name need not be text, to partition 0.
pub(crate) fn produce(topic: &str, key: &[u8], value: &[u8], header: (&[u8], &[u8])) {
    let mut record = Vec::new();
    // Attributes, timestamp delta, offset delta.
    record.extend([0, 0, 0]);
    for part in [key, value] {
        put_sized(&mut record, part);
    }
    put_varint(&mut record, 1);
    for part in [header.0, header.1] {
        put_sized(&mut record, part);
    }
    let mut batch = Vec::new();
    put_sized(&mut batch, &record);
    let batch = batch_of_one(&batch);

    let mut body = Vec::new();
    // Api key Produce, version 3, correlation id, no client id; no transaction, acks of all, timeout.
    body.extend([0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff]);
    body.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0x27, 0x10]);
    body.extend(1_i32.to_be_bytes());
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend((batch.len() as i32).to_be_bytes());
    body.extend(&batch);

    let mut broker = TcpStream::connect(&stack().kafka_bootstrap_servers).expect("Kafka is there");
    broker.write_all(&(body.len() as i32).to_be_bytes()).expect("sent");
    broker.write_all(&body).expect("sent");
    let mut length = [0; 4];
    broker.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    broker.read_exact(&mut answer).expect("an answer");
    // Correlation id, number of topics, name, number of partitions, partition, and then the error.
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[error..error + 2], [0, 0], "Kafka takes the record");
}

fn batch_of_one(records: &[u8]) -> Vec<u8> {
    // 2026-01-01 in milliseconds.
    const TIMESTAMP: i64 = 1_767_225_600_000;
    // What the checksum covers: attributes, last offset delta, timestamps, producer, number of records.
    let mut covered = vec![0, 0, 0, 0, 0, 0];
    covered.extend(TIMESTAMP.to_be_bytes());
    covered.extend(TIMESTAMP.to_be_bytes());
    covered.extend([0xff; 8 + 2 + 4]);
    covered.extend(1_i32.to_be_bytes());
    covered.extend(records);
    // Leader epoch, magic, checksum.
    let mut rest = vec![0xff, 0xff, 0xff, 0xff, 2];
    rest.extend(crc32c(&covered).to_be_bytes());
    rest.extend(covered);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend((rest.len() as i32).to_be_bytes());
    batch.extend(rest);
    batch
}

fn put_sized(bytes: &mut Vec<u8>, part: &[u8]) {
    put_varint(bytes, part.len() as u64);
    bytes.extend(part);
}

/// Writes a number that is not negative, in zigzag and seven bits a byte.
fn put_varint(bytes: &mut Vec<u8>, number: u64) {
    let mut left = number << 1;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    })
}
