use std::{path::PathBuf, time::Instant};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let c = PathBuf::from(&a[2]);
    let t = Instant::now();
    let say = |l: &str| println!("[{:?}] {l}", t.elapsed());
    match a[1].as_str() {
        "start" => match portal_dev_postgres::DevPostgres::start(&c, &say) {
            Ok(s) => println!("{}", s.url("postgres")),
            Err(e) => println!("ERR {e}\n {e:?}"),
        },
        "hold" => {
            let s = portal_dev_postgres::DevPostgres::start(&c, &say).unwrap();
            println!("{}", s.url("postgres"));
            loop {
                std::thread::park();
            }
        }
        "unused" => {
            let s = portal_dev_postgres::DevPostgres::start(&c, &say).unwrap();
            println!("joined {:?}", t.elapsed());
            println!("{:?}", s.stop_if_unused());
        }
        "stop" => println!("{:?}", portal_dev_postgres::stop(&c)),
        "reset" => println!("{:?}", portal_dev_postgres::reset(&c)),
        "state" => println!("{:?}", portal_dev_postgres::state_dir(&c)),
        _ => {}
    }
    println!("took {:?}", t.elapsed());
}
