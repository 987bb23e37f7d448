use super::*;
use crate::simulator::http::{HttpFault, Shelly as StandIn};

fn quick() -> Limits {
    Limits { connect: Duration::from_secs(5), total: Duration::from_secs(5), ..Limits::default() }
}

fn link(stand_in: &StandIn, password: Option<&str>) -> Shelly {
    let at = stand_in.address();
    let address = HttpAddress { tls: false, host: at.ip().to_string(), port: at.port() };
    let login = password.map(|it| ("admin".to_owned(), Secret::new(it.to_owned())));
    Shelly::new(&address, login, quick()).unwrap()
}

#[tokio::test]
async fn a_relay_of_each_generation_is_switched_and_comes_back_by_itself() {
    for (stand_in, generation) in [(StandIn::plug().await.unwrap(), 3), (StandIn::gen1_3em().await.unwrap(), 1)] {
        let mut shelly = link(&stand_in, None);
        assert_eq!(shelly.identify().await.unwrap().generation, generation);
        assert_eq!(shelly.output(0).await, Ok(Some(false)));
        shelly.switch(0, true, None).await.unwrap();
        assert_eq!(shelly.output(0).await, Ok(Some(true)));
        shelly.switch(0, false, None).await.unwrap();
        assert_eq!(shelly.output(0).await, Ok(Some(false)));
        shelly.switch(0, true, Some(Duration::from_secs(1))).await.unwrap();
        assert_eq!(shelly.output(0).await, Ok(Some(true)));
        while shelly.output(0).await == Ok(Some(true)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(shelly.output(0).await, Ok(Some(false)));
        let refused = shelly.switch(0, true, Some(Duration::from_millis(300))).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert!(shelly.switch(7, true, None).await.is_err(), "there is no relay 7");
    }
}

#[tokio::test]
async fn the_level_of_an_input_is_read_and_a_button_has_none() {
    let gen3 = StandIn::plug().await.unwrap();
    let mut shelly = link(&gen3, None);
    assert_eq!(shelly.input(0).await, Ok(Some(false)));
    gen3.set("/input:0/state", true.into());
    assert_eq!(shelly.input(0).await, Ok(Some(true)));
    gen3.set("/input:0/state", serde_json::Value::Null);
    assert_eq!(shelly.input(0).await, Ok(None));
    let gen1 = StandIn::gen1_3em().await.unwrap();
    let mut shelly = link(&gen1, None);
    assert_eq!(shelly.input(0).await, Ok(Some(false)));
    gen1.set("/inputs/0/input", 1.into());
    assert_eq!(shelly.input(0).await, Ok(Some(true)));
    assert!(shelly.input(3).await.is_err());
}

#[tokio::test]
async fn a_login_is_answered_also_after_the_device_has_made_a_new_challenge() {
    for stand_in in [StandIn::plug().await.unwrap(), StandIn::gen1_3em().await.unwrap()] {
        stand_in.require_password("secret");
        let mut shelly = link(&stand_in, Some("secret"));
        assert_eq!(shelly.output(0).await, Ok(Some(false)));
        stand_in.renew_nonce();
        assert_eq!(shelly.output(0).await, Ok(Some(false)));
        for wrong in [None, Some("Secret")] {
            let refused = link(&stand_in, wrong).output(0).await;
            assert!(matches!(refused, Err(Error::Link(http::Error::Login(_)))), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_device_that_was_away_is_asked_anew_who_it_is() {
    let stand_in = StandIn::plug().await.unwrap();
    let mut shelly = link(&stand_in, None);
    shelly.output(0).await.unwrap();
    stand_in.fault(HttpFault::Garbage);
    assert!(matches!(shelly.output(0).await, Err(Error::Answer(_))));
    stand_in.fault(HttpFault::None);
    shelly.output(0).await.unwrap();
    let asked = |it: &StandIn| it.requests().iter().filter(|it| *it == "/shelly").count();
    assert_eq!(asked(&stand_in), 1);
    drop(stand_in);
    let gone = shelly.output(0).await.unwrap_err();
    assert!(gone.is_silence(), "{gone}");
    assert!(shelly.device.is_none());
}
