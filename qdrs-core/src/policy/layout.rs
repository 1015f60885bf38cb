//! Keyboard layouts: what a scanner types when it and its PC are set to different ones.
//!
//! Most scanners act as a keyboard: they send key positions, and the PC makes characters of them. Each layout here is the
//! characters of the 46 keys that layouts share, in the order of the US keyboard, without and with Shift. A text is mapped
//! only as a whole: one character that a layout does not have means that it was not typed in that layout.

/// A layout: its name, and its characters without and with Shift.
struct Layout {
    name: &'static str,
    plain: &'static str,
    shifted: &'static str,
}

const US: Layout = Layout {
    name: "US",
    plain: "1234567890-=qwertyuiop[]asdfghjkl;'\\zxcvbnm,./",
    shifted: "!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:\"|ZXCVBNM<>?",
};

const OTHERS: [Layout; 12] = [
    Layout {
        name: "German",
        plain: "1234567890ß´qwertzuiopü+asdfghjklöä#yxcvbnm,.-",
        shifted: "!\"§$%&/()=?`QWERTZUIOPÜ*ASDFGHJKLÖÄ'YXCVBNM;:_",
    },
    Layout {
        name: "French",
        plain: "&é\"'(-è_çà)=azertyuiop^$qsdfghjklmù*wxcvbn,;:!",
        shifted: "1234567890°+AZERTYUIOP¨£QSDFGHJKLM%µWXCVBN?./§",
    },
    Layout {
        name: "Belgian",
        plain: "&é\"'(§è!çà)-azertyuiop^$qsdfghjklmùµwxcvbn,;:=",
        shifted: "1234567890°_AZERTYUIOP¨*QSDFGHJKLM%£WXCVBN?./+",
    },
    Layout {
        name: "Italian",
        plain: "1234567890'ìqwertyuiopè+asdfghjklòàùzxcvbnm,.-",
        shifted: "!\"£$%&/()=?^QWERTYUIOPé*ASDFGHJKLç°§ZXCVBNM;:_",
    },
    Layout {
        name: "Spanish",
        plain: "1234567890'¡qwertyuiop`+asdfghjklñ´çzxcvbnm,.-",
        shifted: "!\"·$%&/()=?¿QWERTYUIOP^*ASDFGHJKLÑ¨ÇZXCVBNM;:_",
    },
    Layout {
        name: "Portuguese",
        plain: "1234567890'«qwertyuiop+´asdfghjklçº~zxcvbnm,.-",
        shifted: "!\"#$%&/()=?»QWERTYUIOP*`ASDFGHJKLÇª^ZXCVBNM;:_",
    },
    Layout {
        name: "Swiss",
        plain: "1234567890'^qwertzuiopü¨asdfghjklöä$yxcvbnm,.-",
        shifted: "+\"*ç%&/()=?`QWERTZUIOPè!ASDFGHJKLéà£YXCVBNM;:_",
    },
    Layout {
        name: "Swedish or Finnish",
        plain: "1234567890+´qwertyuiopå¨asdfghjklöä'zxcvbnm,.-",
        shifted: "!\"#¤%&/()=?`QWERTYUIOPÅ^ASDFGHJKLÖÄ*ZXCVBNM;:_",
    },
    Layout {
        name: "Danish",
        plain: "1234567890+´qwertyuiopå¨asdfghjklæø'zxcvbnm,.-",
        shifted: "!\"#¤%&/()=?`QWERTYUIOPÅ^ASDFGHJKLÆØ*ZXCVBNM;:_",
    },
    Layout {
        name: "Norwegian",
        plain: "1234567890+\\qwertyuiopå¨asdfghjkløæ'zxcvbnm,.-",
        shifted: "!\"#¤%&/()=?`QWERTYUIOPÅ^ASDFGHJKLØÆ*ZXCVBNM;:_",
    },
    Layout {
        name: "Turkish",
        plain: "1234567890*-qwertyuıopğüasdfghjklşi,zxcvbnmöç.",
        shifted: "!'^+%&/()=?_QWERTYUIOPĞÜASDFGHJKLŞİ;ZXCVBNMÖÇ:",
    },
    Layout {
        name: "British",
        plain: "1234567890-=qwertyuiop[]asdfghjkl;'#zxcvbnm,./",
        shifted: "!\"£$%^&*()_+QWERTYUIOP{}ASDFGHJKL:@~ZXCVBNM<>?",
    },
];

/// What was on the label if the PC or the scanner was set to another layout than the other: each text with the layout's name.
pub(super) fn unmapped(text: &str) -> Vec<(String, &'static str)> {
    let both = OTHERS.iter().flat_map(|other| [(mapped(text, other, &US), other.name), (mapped(text, &US, other), other.name)]);
    both.filter_map(|(mapped, name)| Some((mapped.filter(|mapped| mapped != text)?, name))).collect()
}

/// The text that the same keys give in another layout; `None` where a character is on no key.
fn mapped(text: &str, from: &Layout, to: &Layout) -> Option<String> {
    let key = |c: char| {
        let find = |from: &str, to: &str| from.chars().position(|known| known == c).and_then(|at| to.chars().nth(at));
        find(from.plain, to.plain).or_else(|| find(from.shifted, to.shifted))
    };
    text.chars().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_has_all_keys_and_maps_back() {
        for layout in OTHERS.iter().chain([&US]) {
            assert_eq!((layout.plain.chars().count(), layout.shifted.chars().count()), (46, 46), "{}", layout.name);
            let typed = mapped("QD-0041713/a_Z", &US, layout).expect("is on keys");
            assert_eq!(mapped(&typed, layout, &US).as_deref(), Some("QD-0041713/a_Z"), "{}", layout.name);
        }
    }

    #[test]
    fn a_text_is_mapped_as_a_whole_or_not_at_all() {
        let names = |text: &str, label: &str| -> Vec<&str> {
            unmapped(text).into_iter().filter(|(mapped, _)| mapped == label).map(|(_, name)| name).collect()
        };
        assert_eq!(names("QD'0041713", "QD-0041713"), ["Italian", "Spanish", "Portuguese", "Swiss"]);
        assert_eq!(names("QD+0041713", "QD-0041713"), ["Swedish or Finnish", "Danish", "Norwegian"]);
        assert_eq!(names("QD*0041713", "QD-0041713"), ["Turkish"]);
        assert_eq!(names("QDß0041713", "QD-0041713"), ["German"]);
        assert_eq!(names("QDß004171ñ", "QD-004171;"), Vec::<&str>::new());
        assert!(unmapped("ad)àà'&è&\"").iter().any(|(mapped, name)| (mapped.as_str(), *name) == ("qd-0041713", "French")));
    }
}
