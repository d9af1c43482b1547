import Foundation
import RIDCore
@testable import RIDTestSupport
import XCTest

final class ModelTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "")

    override func setUpWithError() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(at: folder)
    }

    /// FIPS 180-4's own examples, and every length around a block.
    func testSHA256() {
        XCTAssertEqual(
            SHA256.hex([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        XCTAssertEqual(
            SHA256.hex(Array("abc".utf8)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        XCTAssertEqual(
            SHA256.hex(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        XCTAssertEqual(
            SHA256.hex([UInt8](repeating: 0x61, count: 1_000_000)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        for length in 50...130 {
            let bytes = (0..<length).map { UInt8($0) }
            var pieces = SHA256()
            for byte in bytes { pieces.update([byte]) }
            XCTAssertEqual(pieces.finish(), SHA256.hex(bytes), "\(length) bytes")
        }
    }

    func testMetadata() throws {
        let metadata = try ModelMetadata(json: TestPackage.document())
        XCTAssertEqual(metadata.preset, "rid-s")
        XCTAssertEqual(metadata.levels, 8)
        XCTAssertEqual(metadata.resolution, 512)
        XCTAssertEqual(metadata.outputs.map(\.name), ["protected", "delta"])
        XCTAssertNoThrow(try metadata.checkCoreML())
    }

    func testMetadataThatIsRefused() {
        func failure(_ json: Data) -> RIDError? {
            do {
                try ModelMetadata(json: json).checkCoreML()
                return nil
            } catch {
                return error as? RIDError
            }
        }
        XCTAssertEqual(
            failure(Data("[]".utf8)), .modelDamaged("its metadata has no schema version"))
        XCTAssertEqual(
            failure(TestPackage.document(["levels": "many"])),
            .modelDamaged("its metadata is incomplete"))
        guard case .modelUnsupported(let text) = failure(TestPackage.document(["schema": 2])) else {
            return XCTFail("it took another schema")
        }
        XCTAssertTrue(text.contains("schema 2"), text)
        for change: [String: Any] in [
            ["format": "onnx"], ["layout": "nhwc"], ["outputs": []], ["unfit": "noise"],
            ["resolution": 256],
        ] {
            guard case .modelUnsupported = failure(TestPackage.document(change)) else {
                return XCTFail("it took \(change)")
            }
        }
        guard case .invalidBudget = failure(TestPackage.document(["levels": 300])) else {
            return XCTFail("it took 300 levels")
        }
    }

    func testPackage() throws {
        let url = try TestPackage.write(to: folder)
        let package = try ModelPackage(url: url)
        XCTAssertEqual(package.metadata.preset, "rid-s")
        XCTAssertNoThrow(try package.checkDigest())
        // A Finder's files do not count, a changed weight does.
        let weights = url.appendingPathComponent("Data/com.apple.CoreML/weights/weight.bin")
        try Data([1]).write(to: weights.deletingLastPathComponent().appendingPathComponent(".DS"))
        XCTAssertNoThrow(try package.checkDigest())
        try Data([1, 2, 4]).write(to: weights)
        XCTAssertThrowsError(try package.checkDigest()) { error in
            guard case .modelDamaged = error as? RIDError else { return XCTFail("\(error)") }
        }
    }

    func testPackagesThatAreRefused() throws {
        let missing = folder.appendingPathComponent("none.mlpackage")
        XCTAssertThrowsError(try ModelPackage(url: missing)) {
            XCTAssertEqual($0 as? RIDError, .modelMissing("none.mlpackage"))
        }
        let url = try TestPackage.write(to: folder)
        let model = url.appendingPathComponent("Data/com.apple.CoreML/model.mlmodel")
        let sound = try Data(contentsOf: model)
        for length in [0, 1, 5, sound.count / 2, sound.count - 1] {
            try sound.prefix(length).write(to: model)
            XCTAssertThrowsError(try ModelPackage(url: url), "\(length) bytes")
        }
        try (sound + sound).write(to: model)
        XCTAssertThrowsError(try ModelPackage(url: url))
        try FileManager.default.removeItem(at: model)
        XCTAssertThrowsError(try ModelPackage(url: url))
        try Data("{}".utf8).write(to: url.appendingPathComponent("Manifest.json"))
        XCTAssertThrowsError(try ModelPackage(url: url))
    }

    /// A manifest that points out of its package.
    func testAPathThatLeavesThePackage() throws {
        let url = try TestPackage.write(to: folder)
        try Data("secret".utf8).write(to: folder.appendingPathComponent("secret"))
        try TestPackage.manifest(path: "../../secret").write(
            to: url.appendingPathComponent("Manifest.json"))
        XCTAssertThrowsError(try ModelPackage(url: url)) { error in
            guard case .modelDamaged = error as? RIDError else { return XCTFail("\(error)") }
        }
    }

    /// A package that rid-export wrote, where one is at hand.
    func testExportedPackage() throws {
        guard let path = ProcessInfo.processInfo.environment["RID_PACKAGE"] else {
            throw XCTSkip("RID_PACKAGE names no exported package")
        }
        let package = try ModelPackage(url: URL(fileURLWithPath: path))
        XCTAssertNoThrow(try package.checkDigest())
        XCTAssertNoThrow(try package.metadata.checkCoreML())
    }
}
