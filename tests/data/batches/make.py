"""Makes the damaged spreadsheets of this folder again: python3 make.py (needs openpyxl 3.1.5 and xlsxwriter 3.3.1).

Each file is what a line has really got from somebody: exported with the wrong settings, opened and saved once too often,
or typed by hand. What `qdrs check` says of each is a snapshot beside qdrs-cli/src/command/check/tests.rs.
"""

import datetime
import os

import openpyxl
import xlsxwriter

HERE = os.path.dirname(os.path.abspath(__file__))


def text(name, content, encoding="utf-8", line_end="\r\n"):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(content.replace("\n", line_end).encode(encoding))


def serial(number):
    """A good serial of samples/policies/multiples-of-7.toml."""
    return f"QD-{41713 + 7 * number:07}"


def rows(*lines):
    return "".join(line + "\n" for line in lines)


def texts():
    # Twelve digits, shown in scientific notation and then exported as shown.
    text("exponents.csv", rows("serial,lot", *[f"{1.2 + number // 100 / 100:.1f}E+11,W{47 + number // 400}" for number in range(810)]))
    # Some were typed as text and kept their zeros, the others did not.
    text("zeros-lost-by-some.csv", rows("serial;lot", "0041713;1", "41720;1", "41727;1", "0041734;2", "0041741;2"))
    # All have lost them; only the policy knows.
    text("zeros-lost-by-all.csv", rows("Seriennummer", *[str(41713 + 7 * number) for number in range(30)]))
    # Serials such as 5-3 and 3-12, opened once by a spreadsheet that speaks German.
    text("dates-german.csv", rows("Seriennummer;Größe", "05. Mrz;groß", "03. Dez;groß", "32-7;klein", "07. Jan;groß"), "cp1252")
    text("dates-english.csv", rows("Serial No,qty", "3/5/2026,1", "Mar-24,1", "12-Jun,1", "2026-03-05 00:00:00,1", "31-44,1"))
    text("thousands-comma.csv", rows("serial,lot", '"4,171,300",1', '"4,171,307",1', '"4,171,314",2'))
    text("thousands-point.csv", rows("Seriennummer", "4.171.300", "4.171.307", "4.171.314"))
    text("thousands-blank.txt", "\ufeff" + rows("Numéro de série\tlot", "4\u202f171\u202f300\t1", "4\u202f171\u202f307\t1"), "utf-16-le")
    # A program's table of numbers: what had a gap became a float.
    text("decimals.csv", rows(",serial,lot", *[f"{number},{41713 + 7 * number}.0,W47" for number in range(12)]), line_end="\n")
    text("formulas.csv", rows("serial,prefix,number", "=B2&C2,QD-,0041713", "#REF!,QD-,0041720", "#NAME?,QD-,0041727", f"{serial(3)},QD-,0041734"))
    text("too-narrow.csv", rows("serial;lot", "########;1", "########;1", f"{serial(2)};1"))
    text("blanks.csv", rows("serial,lot", f"{serial(0)} ,1", f" {serial(1)},1", f"{serial(2)}\u00a0,1", f"{serial(3)},1"))
    # Somebody's remark has a comma of its own and no quotation marks.
    text(
        "shifted.csv",
        rows("product,remark,serial,lot", f"button,,{serial(0)},1", f"button,red, with a lid,{serial(1)},1", f"button,,{serial(2)},1",
             f"button,{serial(3)},,1", f"button,,{serial(4)},1"),
    )
    # The same without a policy to ask: 12 rows that look alike.
    text("shifted-no-policy.csv", rows("remark,serial", *[f"ok,AB{5200 + number}" for number in range(10)], "ok, but late,AB5210", "ok,AB5211"))
    text("duplicates.csv", rows("serial,lot", serial(0), serial(1), serial(0), serial(2), serial(1).lower(), serial(3)))
    text("duplicates-many.csv", rows("serial", *[serial(number % 40) for number in range(80)]), line_end="\n")
    text("two-columns.csv", rows(*[f"{70001 + number},AX-{90210 + 3 * number},W47" for number in range(6)]))
    text("column-of-another-name.csv", rows("pos,Label text,lot", *[f"{number + 1},{serial(number)},W47" for number in range(5)]))
    text("two-names.csv", rows("Serial number,S/N,lot", "1001,QD-0041713,1"))
    text("typographic-quotes.csv", rows("serial,lot", f"\u201c{serial(0)}\u201d,1", f"\u201e{serial(1)}\u201c,1", f"{serial(2)},1"))
    text("apostrophes.csv", rows("serial,lot", "'0041713,1", '="0041720",1', "0041727,1"))
    text("full-width.csv", rows("序列号,批次", "ＱＤ－００４１７１３,一", f"{serial(1)},一"))
    text("mixed-case.csv", rows("serial", *[f"AB{5200 + number}" for number in range(11)], "ab5211", "aB5212"))
    text("empty-rows.csv", rows("serial;lot", f"{serial(0)};1", ";", "", f"{serial(1)};1", ";;", f"{serial(2)};1", "", ""))
    text("total-row.csv", rows("serial,pieces", f"{serial(0)},1", f"{serial(1)},1", f"{serial(2)},1", "Total,3"))
    text("total-without-a-word.csv", rows("serial,pieces", f"{serial(0)},1", ",1", f"{serial(2)},1", ",3"))
    text("utf16.txt", rows("lot\tserial", f"größer\t{serial(0)}", f"kleiner\t{serial(1)}"), "utf-16-be")
    text("windows-1252.csv", rows("Seriennummer;Farbe", f"{serial(0)};grün", f"{serial(1)};weiß"), "cp1252")
    text("mac.csv", rows("serial|lot", f"{serial(0)}|1", f"{serial(1)}|1", "QD-0041714|1"), line_end="\r")
    text(
        "title-and-comments.csv",
        rows("sep=;", "Order 4711 for line 2;", "", "No.;Serial number;Lot", f"1;{serial(0)};1", "# the reel ends here", f"2;{serial(1)};2"),
    )
    text("single-quotes.csv", rows("'serial';'note'", f"'{serial(0)}';'red; and blue'", f"'{serial(1)}';''"))
    text("quote-not-closed.csv", rows("serial,note", f"{serial(0)},fine", f'"{serial(1)},late', f"{serial(2)},fine", f"{serial(3)},fine"))
    # Two marks in two rows: the rows between them became a remark.
    text("quotes-around-rows.csv", rows("serial,note", f'{serial(0)},"late', f"{serial(1)},fine", f'{serial(2)},15" wide', f"{serial(3)},fine"))
    text("typos.csv", rows("serial", serial(0), "QD-0041712", "QD-OO41727", "QD_0041734", "QD-004174", serial(5)), line_end="\n")
    text("another-product.csv", rows("serial", *[f"BX-{number:07}" for number in range(7000, 7280, 7)], serial(0)), line_end="\n")
    text("saved-as-html.xls", "<html><body><table><tr><td>serial</td></tr><tr><td>QD-0041713</td></tr></table></body></html>\n")
    text("nothing.csv", rows("serial,lot", "", ","))
    # A list that went through a program, and through a spreadsheet in another country.
    text("exponents-java.csv", rows("serial;lot", "1.5E11;1", "1.50000000007E11;1", "123.4E+9;1"))
    text("thousands-swiss.csv", rows("Seriennummer", "4\u2019171\u2019300", "4\u2019171\u2019307", "4\u2019171\u2019314"))
    text("thousands-and-decimals.csv", rows("serial", '"4,171,300.00"', '"4,171,307.00"', '"41,71,314"', "41713.000"))
    text("amounts.csv", rows("serial;lot", "$41713;1", "41720 €;1", "41727%;1", "(41734);1", "41741-;1"))
    text("dates-abroad.csv", rows("serial;lot", "05-mars;1", "avr-26;1", "5-gen;1", "12-mei;1", "3月5日;1", "2026-03-05T00:00:00.000Z;1"))
    text("truth-values.csv", rows("Seriennummer;Los", "WAHR;1", "FALSCH;1", "VRAI;1"))
    text("stand-ins.csv", rows("serial;lot", f"{serial(0)};1", "NULL;1", "n/a;1", "-;1", "...;1", f"{serial(5)};1"))
    # Eighteen digits, of which a spreadsheet kept fifteen; a few were typed as text.
    text("rounded.csv", rows("serial", *[f"{691067117337111 + 7 * number}{'000' if number > 3 else 531 + number}" for number in range(12)]))
    # A word processor's dashes, and what a web page has between letters.
    text("dashes.csv", rows("serial", f"QD\u2013{41713:07}", f"QD\u2011{41720:07}", f"QD-00\u200b41727", f"QD\u00ad-0041734", serial(4)))
    text("same-names.csv", rows("serial,lot,lot", f"{serial(0)},A,B", f"{serial(1)},A,C"))


def workbook(name, fill):
    book = openpyxl.Workbook()
    # Not the moment of making: it says nothing.
    book.properties.created = book.properties.modified = datetime.datetime(2026, 11, 24)
    fill(book)
    book.save(os.path.join(HERE, name))


def column(sheet, *values):
    for value in values:
        sheet.append(value if isinstance(value, list) else [value])


def sheets():
    def numbers(book):
        column(book.active, ["serial", "lot"], [41713, 1], [941720, 1], [941727, 1], [941734, 2])

    def long_numbers(book):
        column(book.active, ["serial"], [490154203237518], [4901542032375180], [1234567890123456789], [0.5])

    def equal_numbers(book):
        column(book.active, ["Lot", "Serial"], *[[47, 4171300 + 7 * number] for number in range(12)])

    def padded(book):
        column(book.active, "serial", 41713, 41720, 4171300)
        for row in book.active["A2:A4"]:
            row[0].number_format = "0000000"

    def dates(book):
        sheet = book.active
        column(sheet, ["serial", "made"], ["5-44", None], [datetime.date(2026, 3, 5), None], [datetime.datetime(2026, 12, 3, 7, 30), None])

    def errors(book):
        column(book.active, "serial", serial(0), "#REF!", True, serial(3), "#N/A")

    def second_sheet(book):
        book.active.title = "Cover"
        hidden = book.create_sheet("Old list")
        hidden.sheet_state = "hidden"
        column(hidden, "serial", "QD-0000001")
        column(book.create_sheet("Week 47"), "Serial no.", serial(0), serial(1), "QD-0041714")

    def far_cell(book):
        column(book.active, ["serial", "lot"], [serial(0), 1], [serial(1), 1])
        book.active["XFD1048576"] = "a stray remark"

    def shown(code):
        def fill(book):
            column(book.active, "serial", *[41713 + 7 * number for number in range(6)])
            for row in book.active["A2:A7"]:
                row[0].number_format = code

        return fill

    def negative(book):
        column(book.active, "serial", -41713, -41720, -41727)

    def hidden_rows(book):
        column(book.active, ["serial", "plant"], *[[serial(number), "Brno" if number % 2 else "Graz"] for number in range(8)])
        for row in (3, 5, 7, 9):
            book.active.row_dimensions[row].hidden = True

    def hidden_column(book):
        column(book.active, ["serial", "label"], [serial(0), "left"], [serial(1), "right"])
        book.active.column_dimensions["A"].hidden = True

    def hidden_sheet(book):
        hidden = book.create_sheet("Old list")
        hidden.sheet_state = "hidden"
        column(hidden, "serial", serial(0), serial(1))

    def three_sheets(book):
        book.active.title = "Reel 1"
        for sheet, first in ((book.active, 0), (book.create_sheet("Reel 2"), 5), (book.create_sheet("Reel 3"), 10)):
            column(sheet, "serial", *[serial(first + number) for number in range(3)])

    def cover_sheet(book):
        book.active.title = "Cover"
        column(book.active, "Delivery note 4711", "Customer", "Meier 12")
        column(book.create_sheet("Serials"), "Serial no.", serial(0), serial(1))

    # An error that no older reader knows, in the serials' column and beside it.
    def new_errors(book):
        column(book.active, ["serial", "note"], [serial(0), None], [None, None], [serial(2), None])
        for place, error in (("A3", "#SPILL!"), ("B4", "#BUSY!")):
            book.active[place].value = error
            book.active[place].data_type = "e"

    def far_column(book):
        column(book.active, 1001, 1002)
        for row, value in enumerate(("serial", serial(0), serial(1)), 1):
            book.active[f"KO{row}"] = value

    workbook("shown-with-letters.xlsx", shown('"QD-"0000000'))
    workbook("shown-with-a-dash.xlsx", shown("000-0000"))
    workbook("shown-with-separators.xlsx", shown("#,##0"))
    workbook("negative-numbers.xlsx", negative)
    workbook("hidden-rows.xlsx", hidden_rows)
    workbook("hidden-column.xlsx", hidden_column)
    workbook("hidden-sheet.xlsx", hidden_sheet)
    workbook("three-sheets.xlsx", three_sheets)
    workbook("cover-sheet.xlsx", cover_sheet)
    workbook("new-errors.xlsx", new_errors)
    workbook("far-column.xlsx", far_column)
    workbook("numbers.xlsx", numbers)
    workbook("long-numbers.xlsx", long_numbers)
    workbook("equal-numbers.xlsx", equal_numbers)
    workbook("padded.xlsx", padded)
    workbook("dates.xlsx", dates)
    workbook("errors.xlsx", errors)
    workbook("second-sheet.xlsx", second_sheet)
    workbook("far-cell.xlsx", far_cell)

    # openpyxl writes no last value beside a formula, as a program that never opened the sheet; xlsxwriter does.
    with xlsxwriter.Workbook(os.path.join(HERE, "formulas.xlsx")) as book:
        book.set_properties({"created": datetime.datetime(2026, 11, 24)})
        sheet = book.add_worksheet("Labels")
        sheet.write_row(0, 0, ["serial", "prefix", "number"])
        for row in range(1, 5):
            sheet.write_row(row, 1, ["QD-", f"{41713 + 7 * (row - 1):07}"])
            value = serial(row - 1) if row < 4 else ""
            sheet.write_formula(row, 0, f"=B{row + 1}&C{row + 1}", None, value)

    def uncalculated(book):
        column(book.active, ["serial", "prefix", "number"], ["=B2&C2", "QD-", "0041713"], [serial(1), "QD-", "0041720"])

    workbook("formulas-never-calculated.xlsx", uncalculated)


def what_took_rows_in_silence():
    """Each of these once lost rows, took the wrong column, or made a device of what is no serial, without a word."""
    some = [serial(number) for number in range(8)]

    def lots(serials):
        return [f"{one};A" for one in serials]

    # Quotation marks that nobody meant, among serials of no one shape; and separators without end.
    mixed = [(f"A{number}", f"ZZ-{number:05}", f"{number:04}Q")[number % 3] for number in range(30)]
    marks = {3: '"', 14: '"'}
    text("quote-mixed-shapes.csv", rows("serial;note", *[f"{one};{marks.get(at, '')}n{at}" for at, one in enumerate(mixed)]))
    further = {2: ";x" * 300, 4: ";" * 300}
    text("row-too-wide.csv", rows("serial;lot", *[f"{one};A{further.get(at, '')}" for at, one in enumerate(some)]))
    # Titles that speak of serials, and headers of several columns that do.
    placed = [f"{at};{one};red" for at, one in enumerate(some, 1)]
    text("title-of-serials.csv", rows("Serial number list for ACME", "", "Pos;Serial number;Colour", *placed))
    text("title-is-a-name.csv", rows("Serial numbers", "Pos;ID;Colour", *placed))
    old = [f"QD-{42413 + 7 * at:07}" for at in range(8)]
    text("old-and-new.csv", rows("Old serial number;New serial number", *[";".join(pair) for pair in zip(old, some)]))
    text("serial-interface.csv", rows("Serial interface;Label", *[f"COM{at};{one}" for at, one in enumerate(some, 1)]))
    two = [f"{one};red;;{other};blue" for one, other in zip(some, old)]
    text("two-tables.csv", rows("serial;colour;;serial;colour", *two))
    text("scanned-with-tabs.txt", "\t".join(some))
    above = [f"{word};x" for word in "From To Street City Contact Phone Order Reel Tray Line Shift".split()]
    text("header-far-below.csv", rows(*above, "Seriennummer;Farbe", *lots(some)))
    # Signs that may be a remark or a serial.
    text("number-signs.csv", rows("serial;lot", *lots(some[:4] + ["#" + some[4], "#" + some[5]] + some[6:])))
    text("numbered-with-number-signs.csv", rows("No;serial", *[f"#{at};{one}" for at, one in enumerate(some, 1)]))
    text("errors-french.csv", rows("serial;lot", *lots(["#NOM?", "#VALEUR!", "#NOMBRE!"] + some)))
    # What programs and people write around a list.
    text("header-again.csv", rows("serial", *some[:4], "serial", *some[4:]))
    text("byte-order-mark-within.csv", rows("serial;lot", *lots(some[:3]), "\ufeffserial;lot", *lots(some[3:])), "utf-8-sig")
    text("sqlplus.txt", rows("", "SERIAL", "----------", *some[:4], "", "4 rows selected."))
    text("the-end.csv", rows("serial;lot", *lots(some[:3]), "Ende;"))
    text("count-below.csv", rows("serial", *some[:4], "4"))
    text("json-lines.csv", rows(*['{"serial":"%s","lot":"A"}' % one for one in some]))
    # Separators and quotation marks that change, or that are within the texts only.
    text("decimals-in-notes.csv", rows(*[f"{one};1,5 x 2,5" for one in some]))
    text("other-separator-below.csv", rows("serial;lot", *lots(some[:5]), *[f"{one},A" for one in some[5:]]))
    text("says-its-separator.csv", rows("sep=#", "serial#lot", *[f"{one}#A" for one in some]))
    quoted = [f"'{serial(at)}';'x'" for at in range(60)] + [f'"{serial(at)}";"x"' for at in range(60, 62)]
    text("other-quotes-below.csv", rows("'serial';'note'", *quoted))
    text("capitals-once.csv", rows("serial;lot", *lots(["QD-0041713", "qd-0041713", "QD-0041720"])))
    # More than a few of a kind: each row is told, each with its own reason.
    text("typos-many.csv", rows("serial", *[serial(at).replace("-0", "-O") if at % 2 else serial(at) for at in range(14)]))
    text("duplicates-some.csv", rows("serial", *[serial(at) for at in range(10)], *[serial(9 - at) for at in range(8)]))
    scattered = [serial(at)[:-1] if at % 3 == 0 else serial(at) for at in range(75)]
    text("cut-here-and-there.csv", rows("serial", *scattered))
    # Encodings that are hard to tell.
    japanese = ["シリアル番号,色,備考"] + [f"{one},赤,予備" for one in some]
    text("shift-jis.csv", rows(*japanese), "cp932")
    text("utf16-japanese.csv", rows(*japanese), "utf-16-le")
    text("utf32.csv", rows("serial;lot", *lots(some)), "utf-32")
    text("ebcdic.csv", rows("serial,lot", *[f"{one},A" for one in some]), "cp037")
    text("dos-end.csv", rows("serial", *some) + "\x1a")


texts()
what_took_rows_in_silence()
sheets()
