//! Readers of the P1 telegrams that are passed on: whatever they do, the appliance goes on.

use std::time::Duration;

use gridkeeper::codec::p1::Decoder;
use gridkeeper::quantity::Span;
use gridkeeper::simulator::{MeterPlan, View};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::meters::{amps, one_car, settled, steady};
use crate::scene::{Appliance, PATIENCE, Scene, Setting};

const SERVED: &str = "[[serve]]\nkind = \"p1\"\nlisten = \"127.0.0.1:0\"\n";

fn serving() -> Setting {
    Setting { tables: SERVED.to_owned(), ..steady() }
}

async fn address(scene: &Scene) -> String {
    scene.until_status("where telegrams are passed on", |status| status["serve"][0]["listen"].is_string()).await;
    scene.status().await["serve"][0]["listen"].as_str().unwrap().to_owned()
}

/// A reader that has been let in. Its own system keeps a few kilobytes for it.
async fn reader(scene: &Scene, address: &str) -> TcpStream {
    let before = scene.status().await["serve"][0]["readers"].as_u64().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    scene.until_status("one more reader", |status| status["serve"][0]["readers"].as_u64() == Some(before + 1)).await;
    stream
}

/// The next so many telegrams, each as it came with its line end.
async fn telegrams(stream: &mut TcpStream, count: usize) -> Vec<Vec<u8>> {
    let (mut decoder, mut found, mut chunk) = (Decoder::new(None), Vec::new(), [0; 4096]);
    while found.len() < count {
        let length = timeout(PATIENCE, stream.read(&mut chunk)).await.expect("telegrams come").unwrap();
        assert!(length > 0, "the appliance hung up");
        let mut bytes = &chunk[..length];
        while let Some(item) = decoder.decode(&mut bytes) {
            let telegram = item.expect("nothing but telegrams");
            telegram.check().expect("nothing but good telegrams");
            found.push(telegram.to_pass_on());
        }
    }
    assert_eq!(decoder.discarded_total(), 0, "readers begin with a whole telegram");
    found
}

fn within_fuse(view: &View) -> bool {
    view.grid.0.iter().all(|it| *it <= amps(25))
}

/// The oven of the house goes on: the car must give way at the next frame, whoever reads along.
async fn is_balanced(scene: &Scene) {
    scene.faults().load(Some([16.0, 2.0, 2.0]));
    scene.until("the car gives way", |view| view.chargers[0].offered == amps(8) && within_fuse(view)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_readers_hear_the_same_and_a_fourth_that_sleeps_delays_nobody() {
    let mut plan = one_car();
    plan.meter = Some(MeterPlan { period: Span(50), ..MeterPlan::default() });
    let scene = Scene::start(plan, serving()).await;
    settled(&scene).await;
    let address = address(&scene).await;
    let asleep = reader(&scene, &address).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(reader(&scene, &address).await);
    }
    let mut heard = Vec::new();
    for reader in &mut readers {
        heard.push(telegrams(reader, 60).await);
    }
    // Each came a little later than the one before; from where the last one began they hear the same.
    let first = &heard[2][0];
    for other in &heard[..2] {
        let from = other.iter().position(|it| it == first).expect("they hear the same meter");
        let common = (other.len() - from).min(heard[2].len());
        assert!(common > 0);
        assert_eq!(other[from..from + common], heard[2][..common]);
    }
    is_balanced(&scene).await;
    // Its system's memory is full one day: it is shut out, and the others never noticed.
    let mut awake = readers.remove(0);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let drain = tokio::spawn(async move {
        let mut chunk = vec![0; 65_536];
        let read = async { while !matches!(awake.read(&mut chunk).await, Ok(0) | Err(_)) {} };
        tokio::select! {
            () = read => panic!("a reader that reads is shut out"),
            _ = stopped => {}
        }
    });
    drop(readers);
    scene.until_status("the sleeper is shut out", |status| status["serve"][0]["dropped"] == 1).await;
    scene.until_status("the other one stays", |status| status["serve"][0]["readers"] == 1).await;
    stop.send(()).expect("the reader that reads is still there");
    drain.await.unwrap();
    drop(asleep);
    scene.until("the house is as it was", |view| view.chargers[0].offered == amps(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_changes_nothing() {
    let scene = Scene::start(one_car(), serving()).await;
    settled(&scene).await;
    let address = address(&scene).await;
    let flood = {
        let address = address.clone();
        tokio::spawn(async move {
            let mut held = std::collections::VecDeque::new();
            loop {
                if let Ok(stream) = TcpStream::connect(&address).await {
                    held.push_back(stream);
                }
                if held.len() > 40 {
                    held.pop_front();
                }
            }
        })
    };
    scene.until_status("many are turned away", |status| status["serve"][0]["refused"].as_u64() > Some(200)).await;
    is_balanced(&scene).await;
    scene
        .holds("the meter stays good and the car charges", Duration::from_secs(1), |view| {
            view.chargers[0].offered == amps(8) && within_fuse(view)
        })
        .await;
    flood.abort();
    scene.until_status("all are gone", |status| status["serve"][0]["readers"] == 0).await;
    let mut late = reader(&scene, &address).await;
    assert_eq!(telegrams(&mut late, 2).await.len(), 2);
    assert_eq!(scene.status().await["meters"][0]["health"]["bad"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gridkeeper_reads_from_the_first() {
    let scene = Scene::start(one_car(), serving()).await;
    settled(&scene).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("second.toml");
    let text = format!(
        "[web]\nlisten = \"127.0.0.1:0\"\n[storage]\ndata_dir = \"{}\"\n[[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"tcp://{}\"\n",
        folder.path().join("data").display(),
        address(&scene).await,
    );
    std::fs::write(&file, text).unwrap();
    let second = Appliance::run(&file, &[]);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let status: serde_json::Value = serde_json::from_str(&second.get("/api/status").await).unwrap();
        let meter = &status["meters"][0];
        if meter["health"]["good"].as_u64() > Some(20) {
            let own = scene.status().await;
            assert_eq!(meter["health"]["bad"], 0, "{meter:#}");
            assert_eq!(meter["health"]["discarded_bytes"], 0, "{meter:#}");
            let keys = |it: &serde_json::Value| it["values"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(meter), keys(&own["meters"][0]));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{meter:#}\n{}", second.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
