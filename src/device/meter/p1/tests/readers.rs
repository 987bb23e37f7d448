//! What is passed on to readers.

use super::*;

#[tokio::test]
async fn readers_get_the_bytes_of_good_telegrams_and_nothing_else() {
    let (listener, connection) = server().await;
    let tap = Tap::default();
    let mut heard = tap.listen();
    let mut running = start_with(connection, HASTY, Some(tap));
    let mut meter = accept(&listener).await;
    let (good, mut wrong, unrepaired) = (telegram(1193), telegram(7), fixture("lf-only.p1"));
    let length = wrong.len();
    wrong[length - 6..length - 2].copy_from_slice(b"1234");
    meter.write_all(&[b"rubbish", &good[..], &wrong, &unrepaired].concat()).await.unwrap();
    running.reading().await;
    running.reading().await;
    assert_eq!(heard.recv().await.unwrap()[..], good);
    // A gateway took its carriage returns away: it is passed on as it came, without them.
    assert_eq!(heard.recv().await.unwrap()[..], unrepaired);
    assert!(heard.try_recv().is_err());
    running.stop().await;
}
