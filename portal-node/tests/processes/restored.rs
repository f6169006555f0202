//! The data folder of an earlier day put back: a node's, a portal's, both portals' at once, a node
//! and a portal together; and one that lost all of it. Whoever was not restored brings what followed; nothing is lost or comes
//! twice, and no number is used again for another bundle.

use std::fs;

use crate::{
    image::{Image, Numbers, copy},
    town::{Portals, Service, Town, VAT, received, sent, until},
};

const EACH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Node,
    A,
    B,
}

struct Scene {
    portals: Portals,
    node: Service,
    given: usize,
    numbers: Numbers,
    _town: Town,
}

impl Scene {
    fn new() -> Self {
        let (town, portals, mut node) = Town::with_node();
        node.start();
        fs::create_dir_all(portals.a.dir.join("sdi").join(VAT)).unwrap();
        Self { _town: town, portals, node, given: 0, numbers: Numbers::new() }
    }

    fn service(&mut self, who: Who) -> &mut Service {
        match who {
            Who::Node => &mut self.node,
            Who::A => &mut self.portals.a,
            Who::B => &mut self.portals.b,
        }
    }

    /// Some invoices of each direction, held by all three at the end.
    fn work(&mut self) {
        let folder = self.portals.a.dir.join("sdi").join(VAT);
        for _ in 0..EACH {
            let n = self.given / 2;
            let (s, r) = (format!("s{n}"), format!("r{n}"));
            fs::write(self.node.spool("out").join(format!("{s}.xml")), sent(&s)).unwrap();
            fs::write(folder.join(format!("{r}.xml")), received(&r)).unwrap();
            self.given += 2;
        }
        self.agree("what was given");
    }

    fn agree(&self, what: &str) {
        let bundles = |service: &Service| service.tenant()["bundles"].clone();
        until(what, || {
            self.node.is_in_sync()
                && self.node.tenant()["records"] == self.given
                && self.node.names("in").len() == self.given / 2
                && bundles(&self.node) == bundles(&self.portals.a)
                && bundles(&self.node) == bundles(&self.portals.b)
        });
    }

    fn compare(&mut self, who: Who) {
        let image = Image::of(self.service(who));
        for (number, hash) in image.after(0).numbers {
            let before = self.numbers.insert(number, hash);
            assert!(before.is_none_or(|before| before == hash), "{number:?} was used twice");
        }
        image.mirror_is_the_truths();
    }
}

#[test]
fn a_data_folder_put_back_is_brought_up_to_date_by_the_others() {
    let mut scene = Scene::new();
    scene.work();
    for whose in [&[Who::Node][..], &[Who::A, Who::B], &[Who::Node, Who::A]] {
        let data = |scene: &mut Scene, who| scene.service(who).dir.join("data");
        for who in whose {
            scene.service(*who).stop();
            let data = data(&mut scene, *who);
            copy(&data, &data.with_extension("backup"));
            scene.service(*who).start();
        }
        scene.work();
        // Twice, so that more than one start lies between the backup and its return.
        whose.iter().for_each(|who| {
            scene.service(*who).stop();
            scene.service(*who).start();
        });
        scene.work();
        for who in whose {
            scene.service(*who).kill();
            scene.compare(*who);
            let data = data(&mut scene, *who);
            fs::remove_dir_all(&data).unwrap();
            fs::rename(data.with_extension("backup"), &data).unwrap();
        }
        whose.iter().for_each(|who| scene.service(*who).start());
        scene.agree(&format!("{whose:?} put back"));
        scene.work();
    }
    for who in [Who::A, Who::Node] {
        scene.service(who).kill();
        scene.compare(who);
        fs::remove_dir_all(scene.service(who).dir.join("data")).unwrap();
        scene.service(who).start();
        scene.agree(&format!("{who:?} lost its disk"));
    }
    scene.work();
    for who in [Who::Node, Who::A, Who::B] {
        scene.service(who).stop();
        scene.compare(who);
    }
    assert_eq!(scene.node.names("rejected"), Vec::<String>::new());
}
