//! Against tokio-modbus's own servers.

use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gridkeeper::config::model::{Connection, SerialLine};
use gridkeeper::link::modbus::{Bus, BusError, Operation, Priority, Reply};
use tokio::net::TcpListener;
use tokio_modbus::server::Service;
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};

use super::peer::pseudo_terminal;
use super::{AMPLE, bus, read, set};

/// 100 registers and coils of unit 3.
#[derive(Clone)]
struct Device {
    registers: Arc<Mutex<Vec<u16>>>,
    coils: Arc<Mutex<Vec<bool>>>,
}

impl Device {
    fn new() -> Self {
        Self {
            registers: Arc::new(Mutex::new((0..100).collect())),
            coils: Arc::new(Mutex::new((0..100).map(|at| at % 3 == 0).collect())),
        }
    }

    fn answer(&self, request: Request<'_>) -> Result<Response, ExceptionCode> {
        let mut registers = self.registers.lock().unwrap();
        let mut coils = self.coils.lock().unwrap();
        let range = |address: u16, count: u16| {
            let start = usize::from(address);
            let end = start + usize::from(count);
            if end <= 100 { Ok(start..end) } else { Err(ExceptionCode::IllegalDataAddress) }
        };
        Ok(match request {
            Request::ReadCoils(address, count) => Response::ReadCoils(coils[range(address, count)?].to_vec()),
            Request::ReadDiscreteInputs(address, count) => {
                Response::ReadDiscreteInputs(coils[range(address, count)?].to_vec())
            }
            Request::ReadHoldingRegisters(address, count) => {
                Response::ReadHoldingRegisters(registers[range(address, count)?].to_vec())
            }
            Request::ReadInputRegisters(address, count) => Response::ReadInputRegisters(
                registers[range(address, count)?].iter().map(|value| value + 1000).collect(),
            ),
            Request::WriteSingleCoil(address, on) => {
                coils[range(address, 1)?].fill(on);
                Response::WriteSingleCoil(address, on)
            }
            Request::WriteSingleRegister(address, value) => {
                registers[range(address, 1)?].fill(value);
                Response::WriteSingleRegister(address, value)
            }
            Request::WriteMultipleRegisters(address, values) => {
                let count = u16::try_from(values.len()).unwrap();
                registers[range(address, count)?].copy_from_slice(&values);
                Response::WriteMultipleRegisters(address, count)
            }
            _ => return Err(ExceptionCode::IllegalFunction),
        })
    }
}

impl Service for Device {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        ready(if request.slave == 3 { self.answer(request.request).map(Some) } else { Ok(None) })
    }
}

async fn every_function(bus: &Bus) {
    let call = |operation| bus.call(3, operation, AMPLE, Priority::Poll);
    assert_eq!(read(bus, 3, 10, 5, AMPLE).await, Ok(vec![10, 11, 12, 13, 14]));
    let input = Operation::ReadInput { address: 1, count: 2 };
    assert_eq!(call(input).await, Ok(Reply::Registers(vec![1001, 1002])));
    let coils = Operation::ReadCoils { address: 0, count: 10 };
    let expected = (0..10).map(|at| at % 3 == 0).collect();
    assert_eq!(call(coils).await, Ok(Reply::Bits(expected)));
    assert_eq!(call(Operation::WriteCoil { address: 1, on: true }).await, Ok(Reply::Written));
    let discrete = Operation::ReadDiscrete { address: 0, count: 3 };
    assert_eq!(call(discrete).await, Ok(Reply::Bits(vec![true, true, false])));
    assert_eq!(set(bus, 3, 20, 1600, AMPLE).await, Ok(()));
    let several = Operation::WriteMultiple { address: 21, values: vec![7, 8, 9] };
    assert_eq!(call(several).await, Ok(Reply::Written));
    assert_eq!(read(bus, 3, 20, 4, AMPLE).await, Ok(vec![1600, 7, 8, 9]));
    let full = read(bus, 3, 0, 100, AMPLE).await.unwrap();
    assert_eq!(full.len(), 100);
    let refused = read(bus, 3, 99, 2, AMPLE).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "unit 3, read of 2 holding registers from 99: refused with exception 2 (illegal data address)"
    );
    assert_eq!(read(bus, 3, 99, 1, AMPLE).await, Ok(vec![99]), "a refusal leaves the link as it is");
    let counters = bus.counters();
    assert_eq!((counters.requests, counters.answers, counters.exceptions), (11, 10, 1));
    assert_eq!((counters.timeouts, counters.bad_answers, counters.reconnects), (0, 0, 0));
    assert!(bus.round_time() > Duration::ZERO);
    // Nobody at that unit: the one that is there goes on.
    let nobody = read(bus, 4, 0, 1, Duration::from_millis(50)).await;
    assert!(matches!(nobody, Err(BusError::Timeout { .. })), "{nobody:?}");
    assert_eq!(read(bus, 3, 5, 1, AMPLE).await, Ok(vec![5]));
    assert_eq!(bus.counters().reconnects, 1);
}

#[tokio::test]
async fn modbus_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let device = Device::new();
    let server = tokio::spawn(async move {
        let connected = |stream, _| {
            let device = device.clone();
            async move { Ok(Some((device, stream))) }
        };
        tokio_modbus::server::tcp::Server::new(listener).serve(&connected, |_| {}).await
    });
    let bus = bus(&Connection::Tcp { host: "127.0.0.1".to_owned(), port });
    every_function(&bus).await;
    server.abort();
}

#[tokio::test]
async fn modbus_rtu_over_a_pseudo_terminal() {
    let (master, _keeper, path) = pseudo_terminal();
    let server = tokio::spawn(tokio_modbus::server::rtu::Server::new(master).serve_forever(Device::new()));
    let line = SerialLine { path: path.into(), baud: Some(115_200), parity: None, stop: None };
    let bus = bus(&Connection::Serial(line));
    every_function(&bus).await;
    server.abort();
}
